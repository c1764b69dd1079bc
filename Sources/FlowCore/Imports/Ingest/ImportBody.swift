import NIOCore

/// The bytes of an import's body for parsing: decompressed if the body is gzip, counted, and hashed if the request
/// has an idempotency key.
final class ImportBody {
    private static let gzipMagic: [UInt8] = [0x1f, 0x8b]
    /// Uncompressed bytes up to which the ratio is not checked: 64 MiB.
    static let ratioCheckThreshold = 67_108_864

    private var parts: any AsyncIteratorProtocol<ByteBuffer, any Error>
    private let codec: any ImportCodec
    private let configuration: ImportConfiguration
    private let hash: (any IncrementalHash)?
    private var decompressor: (any StreamDecompressor)?
    /// Bytes as sent that were received and not processed: the first ones until there are two, or the decompressor's
    /// input.
    private var pending: ArraySlice<UInt8> = []
    /// Whether the first bytes were examined for the magic number of gzip.
    private var hasBegun = false
    /// Whether the request's body has ended.
    private var isComplete = false
    /// Bytes of the body received so far, as sent.
    private(set) var compressedBytes = 0
    /// Bytes of the body so far, after decompression.
    private(set) var uncompressedBytes = 0

    init(_ request: ImportRequest, codec: any ImportCodec, configuration: ImportConfiguration) {
        self.parts = request.body.makeAsyncIterator()
        self.codec = codec
        self.configuration = configuration
        self.hash = request.idempotencyKey == nil ? nil : codec.makeHash()
    }

    /// The next bytes of the body, decompressed; `nil` at its end.
    /// - Throws: ``ImportError/badGzip(_:)``, ``ImportError/tooLarge(limit:)``,
    ///   ``ImportError/suspiciousRatio(limit:)``, or the error of the request's body.
    func next() async throws -> [UInt8]? {
        while true {
            if let decompressor = self.decompressor {
                let bytes = try self.decompressed(by: decompressor)
                if !bytes.isEmpty { return bytes }
            }
            guard let part = try await self.part() else {
                if let decompressor = self.decompressor, !decompressor.isAtEnd {
                    throw ImportError.badGzip("the gzip data is truncated")
                }
                return nil
            }
            if !self.hasBegun {
                // The magic number has two bytes, and the first chunk of the body may have only one.
                self.pending += part
                guard self.pending.count >= 2 || self.isComplete else { continue }
                self.hasBegun = true
                if self.pending.starts(with: Self.gzipMagic) {
                    self.decompressor = self.codec.makeDecompressor()
                    continue
                }
                let bytes = Array(self.pending)
                self.pending = []
                try self.count(bytes.count)
                return bytes
            }
            if self.decompressor != nil {
                self.pending = part[...]
            } else {
                try self.count(part.count)
                return part
            }
        }
    }

    /// Reads the rest of the body without decompressing it, so that its hash and its size are complete.
    func skip() async throws { while try await self.part() != nil {} }

    /// SHA-256 of the body as it was sent, in hexadecimal; `nil` if the request has no idempotency key.
    func requestHash() -> String? { self.hash?.finish() }

    /// The next chunk of the body as sent, not decompressed; `nil` at the body's end. ``next()`` checks for the magic
    /// number of gzip once it has two bytes. If the body ends before that, one empty chunk precedes the `nil`, so that
    /// ``next()`` processes a body of less than two bytes.
    private func part() async throws -> [UInt8]? {
        if self.isComplete { return nil }
        guard let buffer = try await self.parts.next(isolation: #isolation) else {
            self.isComplete = true
            return self.hasBegun ? nil : []
        }
        let bytes = Array(buffer.readableBytesView)
        self.compressedBytes += bytes.count
        // The bytes as sent are limited too: a gzip stream can continue without any output, and ``skip()`` counts no
        // uncompressed bytes.
        if self.compressedBytes > self.configuration.maximumBytes {
            throw ImportError.tooLarge(limit: self.configuration.maximumBytes)
        }
        if let hash = self.hash { bytes.withUnsafeBytes { hash.update($0) } }
        return bytes
    }

    /// The next decompressed bytes; empty if the decompressor needs more input than is pending.
    private func decompressed(by decompressor: any StreamDecompressor) throws -> [UInt8] {
        while true {
            let bytes: [UInt8]
            do throws(CodecError) {
                bytes = try decompressor.decompress(&self.pending)
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

    /// Counts uncompressed bytes and checks the limits of size and ratio.
    private func count(_ bytes: Int) throws {
        self.uncompressedBytes += bytes
        if self.uncompressedBytes > self.configuration.maximumBytes {
            throw ImportError.tooLarge(limit: self.configuration.maximumBytes)
        }
        if self.decompressor != nil, self.uncompressedBytes > Self.ratioCheckThreshold,
            self.uncompressedBytes / max(1, self.compressedBytes) > self.configuration.maximumRatio
        {
            throw ImportError.suspiciousRatio(limit: self.configuration.maximumRatio)
        }
    }
}
