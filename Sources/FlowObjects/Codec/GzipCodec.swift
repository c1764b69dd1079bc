import CDeflate
public import FlowCore
import Synchronization

/// ``ImportCodec`` for gzip: libdeflate for whole gzip members in memory, zlib for data that arrives in pieces.
/// SHA-256 by OpenSSL.
public final class GzipCodec: ImportCodec {
    /// Reusable libdeflate contexts. A call removes a context under the lock, uses it alone, and puts it back.
    /// libdeflate binds no context to a thread, so contexts may move between threads.
    private struct Contexts: ~Copyable, @unchecked Sendable {
        var compressors: [OpaquePointer] = []
        var decompressors: [OpaquePointer] = []
    }

    private let level: Int32
    private let pool: WorkerPool
    private let contexts = Mutex(Contexts())

    /// - Parameters:
    ///   - level: compression level of libdeflate, 1 (fast) to 12 (small).
    ///   - pool: runs compression and decompression.
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

    /// Compresses the bytes into one gzip member, on the pool.
    public func compress(_ bytes: [UInt8]) async -> [UInt8] {
        await withTaskExecutorPreference(self.pool) { await self.compressed(bytes) }
    }

    /// Decompresses complete gzip members, on the pool.
    /// - Throws: `tooLarge` if the result exceeds `limit` bytes; `malformed` if a gzip member is corrupted.
    public func decompress(_ members: [UInt8], limit: Int) async throws(CodecError) -> [UInt8] {
        let result = await withTaskExecutorPreference(self.pool) { await self.decompressed(members, limit: limit) }
        return try result.get()
    }

    /// Creates a decompressor that uses zlib on the caller's thread.
    public func makeDecompressor() -> any StreamDecompressor { GzipDecompressor() }
    /// Creates a SHA-256 hash by OpenSSL.
    public func makeHash() -> any IncrementalHash { Self.makeHash() }
    /// Creates a SHA-256 hash by OpenSSL, for which no codec is needed.
    public static func makeHash() -> any IncrementalHash { OpenSSLSHA256() }

    // MARK: Private

    /// Compresses the bytes into one gzip member, with a libdeflate context that no other call uses meanwhile.
    @concurrent private func compressed(_ bytes: [UInt8]) async -> [UInt8] {
        let cached = self.contexts.withLock { UInt(bitPattern: $0.compressors.popLast()) }
        guard let context = OpaquePointer(bitPattern: cached) ?? libdeflate_alloc_compressor(self.level) else {
            // Fails only if out of memory, which is fatal everywhere in Swift.
            fatalError("out of memory for compression")
        }
        let bound = libdeflate_gzip_compress_bound(context, bytes.count)
        let compressed = [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            count = bytes.withUnsafeBytes {
                libdeflate_gzip_compress(context, $0.baseAddress, $0.count, output.baseAddress, bound)
            }
        }
        let address = UInt(bitPattern: context)
        self.contexts.withLock { if let context = OpaquePointer(bitPattern: address) { $0.compressors.append(context) } }
        // A copy of the exact size: the caller may keep the gzip member in memory until a part of the upload is full.
        return [UInt8](compressed[...])
    }

    /// Decompresses complete gzip members to at most `limit` bytes in total, with a libdeflate context that no other call
    /// uses meanwhile.
    @concurrent private func decompressed(_ members: [UInt8], limit: Int) async -> Result<[UInt8], CodecError> {
        let cached = self.contexts.withLock { UInt(bitPattern: $0.decompressors.popLast()) }
        guard let context = OpaquePointer(bitPattern: cached) ?? libdeflate_alloc_decompressor() else {
            // Fails only if out of memory, which is fatal everywhere in Swift.
            fatalError("out of memory for decompression")
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
                        failure = result == LIBDEFLATE_INSUFFICIENT_SPACE ? .tooLarge : .malformed("corrupted gzip member")
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
