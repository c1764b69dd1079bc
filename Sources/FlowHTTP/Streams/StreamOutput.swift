import FlowCore

/// The transport of one event stream: one request of an HTTP/1.1 connection (``HTTP1StreamTransport``), or a fake in tests. Confined to the
/// event loop.
///
/// Writes are buffered until ``flush()``. If a write fails, the stream is closed before the call returns.
protocol StreamOutput: AnyObject {
    /// Whether the socket is writable. If it is not, no history is read and no live event is written.
    var isWritable: Bool { get }
    /// Bytes that were written and are still buffered in this process.
    var queuedBytes: Int { get }

    /// Writes the response head of an event stream, with status 200.
    func startResponse()
    /// Answers with an ordinary response instead of a stream. Not to be called after ``startResponse()``.
    func reject(_ rejection: StreamRejection)
    /// Writes text of the stream without flushing it. An empty block writes nothing.
    func write(_ block: StreamBlock)
    /// Writes and flushes.
    func send(_ block: StreamBlock)
    /// Passes the written bytes to the socket.
    func flush()
    /// Flushes, and closes the connection after the client has read what is queued, or after a timeout if it does not.
    func finish()
    /// Closes the connection immediately and drops what is queued.
    func abort()
    /// The stream has ended. It makes no other call afterwards than ``finish()``, ``abort()`` or ``reject(_:)``.
    func ended(_ ending: StreamEnding)
}

/// A response after which an `EventSource` does not reconnect.
enum StreamRejection {
    /// 204: every flow is terminal, and the client's cursor is at the last event of each.
    case noContent
}
