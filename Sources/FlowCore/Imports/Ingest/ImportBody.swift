import NIOCore

/// The bytes of an import as records are read from them: unpacked if they come as gzip, counted, and hashed if somebody will
/// compare.
final class ImportBody {
    private static let gzipMagic: [UInt8] = [0x1f, 0x8b]
    /// Below so many unpacked bytes any ratio is taken.
    static let freeBytes = 67_108_864

    private var parts: any AsyncIteratorProtocol<ByteBuffer, any Error>
    private let codec: any ImportCodec
    private let configuration: ImportConfiguration
    private let hash: (any IncrementalHash)?
    private var unpacker: (any StreamDecompressor)?
    private var pending: ArraySlice<UInt8> = []
    private var hasBegun = false
    private var isComplete = false
    /// Bytes of the body so far, and of what came out of them.
    private(set) var packedBytes = 0
    private(set) var unpackedBytes = 0

    init(_ order: ImportRequest, codec: any ImportCodec, configuration: ImportConfiguration) {
        self.parts = order.body.makeAsyncIterator()
        self.codec = codec
        self.configuration = configuration
        self.hash = order.idempotencyKey == nil ? nil : codec.makeHash()
    }

    /// Some bytes; `nil` at the end.
    func next() async throws -> [UInt8]? {
        while true {
            if let unpacker = self.unpacker {
                let bytes = try self.unpacked(by: unpacker)
                if !bytes.isEmpty { return bytes }
            }
            guard let part = try await self.part() else {
                if let unpacker = self.unpacker, !unpacker.isAtEnd { throw ImportError.badGzip("it ends in the middle") }
                return nil
            }
            if !self.hasBegun {
                // The magic number is two bytes, and a part may have one.
                self.pending += part
                guard self.pending.count >= 2 || self.isComplete else { continue }
                self.hasBegun = true
                if self.pending.starts(with: Self.gzipMagic) {
                    self.unpacker = self.codec.makeUnpacker()
                    continue
                }
                let bytes = Array(self.pending)
                self.pending = []
                try self.count(bytes.count)
                return bytes
            }
            if self.unpacker != nil {
                self.pending = part[...]
            } else {
                try self.count(part.count)
                return part
            }
        }
    }

    /// Reads what is left, for its hash alone.
    func skip() async throws { while try await self.part() != nil {} }

    /// SHA-256 of the body as it was sent; `nil` if nobody will ask.
    func requestHash() -> String? { self.hash?.finish() }

    /// At the end of the body an empty part comes first where nothing has begun yet.
    private func part() async throws -> [UInt8]? {
        if self.isComplete { return nil }
        guard let buffer = try await self.parts.next(isolation: #isolation) else {
            self.isComplete = true
            return self.hasBegun ? nil : []
        }
        let bytes = Array(buffer.readableBytesView)
        self.packedBytes += bytes.count
        // Gzip can go on without end and unpack to nothing, and what is only hashed is never counted otherwise.
        if self.packedBytes > self.configuration.maximumBytes {
            throw ImportError.tooLarge(limit: self.configuration.maximumBytes)
        }
        if let hash = self.hash { bytes.withUnsafeBytes { hash.update($0) } }
        return bytes
    }

    private func unpacked(by unpacker: any StreamDecompressor) throws -> [UInt8] {
        while true {
            let bytes: [UInt8]
            do throws(CodecError) {
                bytes = try unpacker.unpack(&self.pending)
            } catch {
                switch error {
                case .malformed(let what): throw ImportError.badGzip(what)
                case .tooLarge: throw ImportError.tooLarge(limit: self.configuration.maximumBytes)
                }
            }
            if bytes.isEmpty, !self.pending.isEmpty { continue }
            try self.count(bytes.count)
            return bytes
        }
    }

    private func count(_ bytes: Int) throws {
        self.unpackedBytes += bytes
        if self.unpackedBytes > self.configuration.maximumBytes {
            throw ImportError.tooLarge(limit: self.configuration.maximumBytes)
        }
        if self.unpacker != nil, self.unpackedBytes > Self.freeBytes,
            self.unpackedBytes / max(1, self.packedBytes) > self.configuration.maximumRatio
        {
            throw ImportError.suspiciousRatio(limit: self.configuration.maximumRatio)
        }
    }
}
