import CZlib
import FlowCore

/// Decompresses a series of gzip members (RFC 1952) incrementally.
final class GzipDecompressor: StreamDecompressor {
    /// Maximum bytes of one output buffer.
    private static let outputBytes = 262_144
    /// Window of 15 bits; 16 more makes a gzip header mandatory (zlib, `inflateInit2`).
    private static let windowBits: Int32 = 15 + 16

    /// On the heap, because zlib keeps a pointer to the structure, which therefore must not move.
    private let stream: UnsafeMutablePointer<z_stream>
    /// Whether the input so far ends with a complete gzip member.
    private(set) var isAtEnd = false
    /// The error of an earlier call, which every later call throws again.
    private var failure: CodecError?

    init() {
        self.stream = .allocate(capacity: 1)
        self.stream.initialize(to: z_stream())
        guard inflateInit2_(self.stream, Self.windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            // Fails only if out of memory, which is fatal everywhere in Swift.
            fatalError("out of memory for decompression")
        }
    }

    deinit {
        inflateEnd(self.stream)
        self.stream.deallocate()
    }

    /// Decompresses input until it is used up, 256 KiB of output are full, or a gzip member ends.
    func decompress(_ input: inout ArraySlice<UInt8>) throws(CodecError) -> [UInt8] {
        if let failure = self.failure { throw failure }
        if self.isAtEnd {
            guard let first = input.first else { return [] }
            guard first == 0x1f else { throw self.fail(.malformed("data after the end of the gzip stream")) }
            inflateReset(self.stream)
            self.isAtEnd = false
        }
        var result = Z_OK
        var consumed = 0
        let output = [UInt8](unsafeUninitializedCapacity: Self.outputBytes) { output, count in
            input.withUnsafeBufferPointer { bytes in
                // zlib does not write to its input.
                self.stream.pointee.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress)
                self.stream.pointee.avail_in = UInt32(clamping: bytes.count)
                self.stream.pointee.next_out = output.baseAddress
                self.stream.pointee.avail_out = UInt32(Self.outputBytes)
                let offered = self.stream.pointee.avail_in
                result = inflate(self.stream, Z_NO_FLUSH)
                consumed = Int(offered - self.stream.pointee.avail_in)
                count = Self.outputBytes - Int(self.stream.pointee.avail_out)
            }
        }
        input = input.dropFirst(consumed)
        switch result {
        case Z_STREAM_END: self.isAtEnd = true
        // `Z_BUF_ERROR`: no progress was possible, because more input is needed.
        case Z_OK, Z_BUF_ERROR: break
        default: throw self.fail(.malformed("corrupted gzip data"))
        }
        return output
    }

    /// Records an error, which every later call of ``decompress(_:)`` throws again.
    private func fail(_ error: CodecError) -> CodecError {
        self.failure = error
        return error
    }
}
