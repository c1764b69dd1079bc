/// Packing, unpacking and hashing, which is C's work. Safe to use from any task; none of it runs on the caller's thread.
public protocol ImportCodec: Sendable {
    /// One gzip member (RFC 1952) of these bytes.
    func compress(_ bytes: [UInt8]) async -> [UInt8]
    /// The bytes of whole gzip members, one after the other.
    /// - Parameter limit: bytes that they may have in all.
    func decompress(_ members: [UInt8], limit: Int) async throws(CodecError) -> [UInt8]
    /// For a stream of one or more gzip members of any size.
    func makeDecompressor() -> any StreamDecompressor
    /// SHA-256.
    func makeHash() -> any IncrementalHash
}

/// Used by one task. Runs on the caller's thread, some 64 KiB at a time.
public protocol StreamDecompressor: AnyObject {
    /// Unpacks some of the input: at most 256 KiB of output a call.
    /// - Parameter input: what has not been taken yet. What was is removed from it.
    /// - Returns: what came out; empty if more input is needed.
    func decompress(_ input: inout ArraySlice<UInt8>) throws(CodecError) -> [UInt8]
    /// Whether the input may end here: between two members, and not before the first.
    var isAtEnd: Bool { get }
}

public protocol IncrementalHash: AnyObject {
    func update(_ bytes: UnsafeRawBufferPointer)
    /// In hexadecimal. The hash takes nothing more.
    func finish() -> String
}

public enum CodecError: Error, Hashable, Sendable {
    /// No gzip, or damaged.
    case malformed(String)
    /// More bytes than the limit.
    case tooLarge
}
