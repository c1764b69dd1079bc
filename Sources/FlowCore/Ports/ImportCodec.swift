/// The port for gzip and SHA-256, which C libraries implement. Safe to use from any task; the asynchronous methods do not
/// run on the caller's thread.
public protocol ImportCodec: Sendable {
    /// Compresses the bytes into one gzip member (RFC 1952).
    func compress(_ bytes: [UInt8]) async -> [UInt8]
    /// Decompresses one or more complete gzip members, and concatenates the results.
    /// - Parameter limit: the maximum total size of the result, in bytes.
    /// - Throws: ``CodecError``.
    func decompress(_ members: [UInt8], limit: Int) async throws(CodecError) -> [UInt8]
    /// Creates a decompressor for a stream of one or more gzip members of any size.
    func makeDecompressor() -> any StreamDecompressor
    /// Creates a SHA-256 hash.
    func makeHash() -> any IncrementalHash
}

/// An incremental gzip decompressor. It must be used by one task only, and runs on the caller's thread; callers pass about
/// 64 KiB at a time.
public protocol StreamDecompressor: AnyObject {
    /// Decompresses some of the input, to at most 256 KiB of output per call.
    /// - Parameter input: the bytes that were not processed yet. The processed ones are removed from it.
    /// - Returns: the decompressed bytes; empty if more input is needed.
    /// - Throws: ``CodecError``.
    func decompress(_ input: inout ArraySlice<UInt8>) throws(CodecError) -> [UInt8]
    /// Whether the input may end here: at least one gzip member is complete and no other one has started.
    var isAtEnd: Bool { get }
}

/// An incremental hash. It must be used by one task only, and runs on the caller's thread.
public protocol IncrementalHash: AnyObject {
    /// Adds bytes to the hash.
    func update(_ bytes: UnsafeRawBufferPointer)
    /// Ends the hash and returns it in hexadecimal. Must be the last call.
    func finish() -> String
}

/// The reason that decompression failed.
public enum CodecError: Error, Hashable, Sendable {
    /// The bytes are not gzip, or are damaged.
    case malformed(String)
    /// The decompressed bytes exceed the limit.
    case tooLarge
}
