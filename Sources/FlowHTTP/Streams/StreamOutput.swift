import NIOCore

/// What carries an event stream's bytes: a socket, or one stream of an HTTP/2 connection. Confined to the event loop.
///
/// Writes are gathered until ``flush()``. A write may fail, and then closes the stream before it returns.
protocol StreamOutput: AnyObject {
    /// Whether the peer takes more. Nothing is written to an output that is not writable, except a last word.
    var isWritable: Bool { get }
    /// Bytes handed over that the peer has not taken.
    var queuedBytes: Int { get }

    /// Sends the head of a `200` event stream.
    func startResponse(extraHeaders: [(name: String, value: String)])
    /// Answers with something else than a stream; instead of ``startResponse(extraHeaders:)``.
    func reject(_ rejection: StreamRejection)
    func write(_ buffer: ByteBuffer)
    /// Writes and flushes.
    func send(_ buffer: ByteBuffer)
    func flush()
    /// Sends what is queued, if the peer takes it, and ends.
    func finish()
    /// Ends at once and forgets what is queued.
    func abort()
}

/// An answer that is final for an `EventSource`.
enum StreamRejection {
    /// Every flow has ended and the client has seen the end.
    case noContent
    case problem(HTTPProblem)
}
