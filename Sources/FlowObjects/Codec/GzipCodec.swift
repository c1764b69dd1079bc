import CDeflate
public import FlowCore
import Synchronization

/// Gzip by libdeflate where whole members are at hand, by zlib where they come as a stream; SHA-256 by OpenSSL.
public final class GzipCodec: ImportCodec {
    /// libdeflate's contexts. Each is used by one call at a time and kept for the next: whoever has taken it out, under the lock,
    /// has it alone. libdeflate ties none to a thread, so they may cross threads.
    private struct Contexts: ~Copyable, @unchecked Sendable {
        var compressors: [OpaquePointer] = []
        var decompressors: [OpaquePointer] = []
    }

    private let level: Int32
    private let pool: WorkerPool
    private let contexts = Mutex(Contexts())

    /// - Parameters:
    ///   - level: libdeflate's, 1 (fast) to 12 (small).
    ///   - pool: runs the work.
    public init(level: Int, pool: WorkerPool) {
        self.level = Int32(level)
        self.pool = pool
    }

    deinit {
        self.contexts.withLock { contexts in
            for context in contexts.compressors { libdeflate_free_compressor(context) }
            for context in contexts.decompressors { libdeflate_free_decompressor(context) }
        }
    }

    public func compress(_ bytes: [UInt8]) async -> [UInt8] {
        await withTaskExecutorPreference(self.pool) { await self.compressed(bytes) }
    }

    public func decompress(_ members: [UInt8], limit: Int) async throws(CodecError) -> [UInt8] {
        let result = await withTaskExecutorPreference(self.pool) { await self.decompressed(members, limit: limit) }
        return try result.get()
    }

    public func makeDecompressor() -> any StreamDecompressor { GzipDecompressor() }
    public func makeHash() -> any IncrementalHash { OpenSSLSHA256() }

    // MARK: Private

    @concurrent private func compressed(_ bytes: [UInt8]) async -> [UInt8] {
        let cached = self.contexts.withLock { UInt(bitPattern: $0.compressors.popLast()) }
        guard let context = OpaquePointer(bitPattern: cached) ?? libdeflate_alloc_compressor(self.level) else {
            // Nothing but want of memory makes it fail, of which Swift itself would die.
            fatalError("no memory for compressing")
        }
        let bound = libdeflate_gzip_compress_bound(context, bytes.count)
        let compressed = [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            count = bytes.withUnsafeBytes {
                libdeflate_gzip_compress(context, $0.baseAddress, $0.count, output.baseAddress, bound)
            }
        }
        let address = UInt(bitPattern: context)
        self.contexts.withLock { if let context = OpaquePointer(bitPattern: address) { $0.compressors.append(context) } }
        // At its size: what is packed may wait for its part to be full.
        return [UInt8](compressed[...])
    }

    @concurrent private func decompressed(_ members: [UInt8], limit: Int) async -> Result<[UInt8], CodecError> {
        let cached = self.contexts.withLock { UInt(bitPattern: $0.decompressors.popLast()) }
        guard let context = OpaquePointer(bitPattern: cached) ?? libdeflate_alloc_decompressor() else {
            // As above.
            fatalError("no memory for unpacking")
        }
        var failure: CodecError?
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { output, count in
            members.withUnsafeBytes { input in
                var consumed = 0
                while consumed < input.count {
                    var (read, written) = (0, 0)
                    let result = libdeflate_gzip_decompress_ex(
                        context, input.baseAddress?.advanced(by: consumed), input.count - consumed,
                        output.baseAddress?.advanced(by: count), limit - count, &read, &written)
                    guard result == LIBDEFLATE_SUCCESS else {
                        failure = result == LIBDEFLATE_INSUFFICIENT_SPACE ? .tooLarge : .malformed("a damaged gzip member")
                        return
                    }
                    consumed += read
                    count += written
                }
            }
        }
        let address = UInt(bitPattern: context)
        self.contexts.withLock { if let context = OpaquePointer(bitPattern: address) { $0.decompressors.append(context) } }
        if let failure { return .failure(failure) }
        return .success(bytes)
    }
}
