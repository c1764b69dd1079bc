import Synchronization

/// One request and its response, shared by the transport's thread, which adds the received head and bytes, and the task
/// that reads the response.
final class Exchange: Sendable {
    /// What the transport does with bytes that it has passed to ``accept(_:)``.
    enum Verdict {
        /// The bytes were appended: continue.
        case accepted
        /// The buffer is full: pause the transfer, and pass the same bytes again when it is resumed.
        case pause
        /// The exchange has ended: end the transfer.
        case stop
    }

    private typealias HeadAnswer = CheckedContinuation<Result<TransportHead, TransportError>, Never>
    private typealias BytesAnswer = CheckedContinuation<Result<[UInt8]?, TransportError>, Never>

    private struct State: Sendable {
        var head: TransportHead?
        /// The continuation of the task that reads the response, while the task waits for the response head.
        var headWaiter: HeadAnswer?
        /// Received bytes of the response body that were not read yet.
        var buffer: [UInt8] = []
        /// The continuation of the task that reads the response, while the task waits for bytes of the response body.
        var bytesWaiter: BytesAnswer?
        /// Whether the transport has paused the transfer, because the buffer is full.
        var isPaused = false
        /// How the exchange has ended. Outer `nil`: in progress. Inner `nil`: ended with a complete response.
        var end: TransportError??

        /// Removes all bytes from the buffer and returns them.
        /// - Returns: the bytes. If the buffer is empty: success with `nil` at the end of the response, or the error with which
        ///   the exchange has ended; outer `nil` if the exchange is in progress, so that the task must wait.
        mutating func consumeBuffer() -> Result<[UInt8]?, TransportError>? {
            if !self.buffer.isEmpty {
                defer { self.buffer = [] }
                return .success(self.buffer)
            }
            guard let end = self.end else { return nil }
            if let error = end { return .failure(error) }
            return .success(nil)
        }

        /// Records that the buffer has room again.
        /// - Returns: whether the transfer was paused and must be resumed.
        mutating func unpause() -> Bool {
            defer { self.isPaused = false }
            return self.isPaused && self.end == nil
        }
    }

    let id: UInt64
    let request: TransportRequest
    let deadline: ContinuousClock.Instant
    /// Maximum bytes in the buffer. If further bytes would exceed it, the transfer pauses.
    private let bufferBytes: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - id: number of the exchange, unique in its transport.
    ///   - deadline: when the request fails; if the response is streamed, it applies to the response head only.
    init(id: UInt64, _ request: TransportRequest, deadline: ContinuousClock.Instant, bufferBytes: Int) {
        self.id = id
        self.request = request
        self.deadline = deadline
        self.bufferBytes = bufferBytes
    }

    // MARK: Called by the task that reads the response

    /// Waits for the response head.
    func head() async -> Result<TransportHead, TransportError> {
        await withCheckedContinuation { (waiter: HeadAnswer) in
            let result: Result<TransportHead, TransportError>? = self.state.withLock { state in
                if let head = state.head { return .success(head) }
                // An end without a head is always an error; see `end`.
                if case .some(.some(let error)) = state.end { return .failure(error) }
                state.headWaiter = waiter
                return nil
            }
            if let result { waiter.resume(returning: result) }
        }
    }

    /// Waits for bytes of the response body.
    /// - Parameter resume: called if the transfer was paused and must be resumed.
    /// - Returns: all buffered bytes; `nil` at the end of the body.
    func next(resume: () -> Void) async -> Result<[UInt8]?, TransportError> {
        await withCheckedContinuation { (waiter: BytesAnswer) in
            let (result, mustResume) = self.state.withLock { state -> (Result<[UInt8]?, TransportError>?, Bool) in
                guard let result = state.consumeBuffer() else {
                    state.bytesWaiter = waiter
                    return (nil, state.unpause())
                }
                return (result, state.unpause())
            }
            if mustResume { resume() }
            if let result { waiter.resume(returning: result) }
        }
    }

    // MARK: Called by the transport's thread

    /// Sets the response head, and passes it to the task that waits for it. Must be called at most once.
    func deliver(_ head: TransportHead) {
        let waiter = self.state.withLock { state in
            state.head = head
            defer { state.headWaiter = nil }
            return state.headWaiter
        }
        waiter?.resume(returning: .success(head))
    }

    /// Whether the response head is complete.
    var hasHead: Bool { self.state.withLock { $0.head != nil } }
    /// Whether ``end(_:)`` was called.
    var hasEnded: Bool { self.state.withLock { $0.end != nil } }

    /// Appends bytes of the response body to the buffer, if it has room.
    func accept(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        self.state.withLock { state in
            if state.end != nil { return .stop }
            // An empty buffer accepts any number of bytes: more than `bufferBytes` at once would otherwise never be delivered.
            if !state.buffer.isEmpty, state.buffer.count + bytes.count > self.bufferBytes {
                state.isPaused = true
                return .pause
            }
            state.buffer.append(contentsOf: bytes)
            return .accepted
        }
    }

    /// Passes the buffered bytes, or the end, to the task that waits for bytes. Called after all available bytes were
    /// appended, so that the task resumes once for several calls of ``accept(_:)``.
    func flush() {
        let woken = self.state.withLock { state -> (BytesAnswer, Result<[UInt8]?, TransportError>)? in
            guard let waiter = state.bytesWaiter, let result = state.consumeBuffer() else { return nil }
            state.bytesWaiter = nil
            return (waiter, result)
        }
        if let (waiter, result) = woken { waiter.resume(returning: result) }
    }

    /// Ends the exchange. Further calls have no effect. Buffered bytes can still be read.
    /// - Parameter error: the reason; `nil` if the response is complete.
    func end(_ error: TransportError?) {
        let waiter: (HeadAnswer, TransportError)? = self.state.withLock { state in
            guard state.end == nil else { return nil }
            let end = state.head == nil ? error ?? .lost : error
            state.end = .some(end)
            guard let waiter = state.headWaiter, let end else { return nil }
            state.headWaiter = nil
            return (waiter, end)
        }
        if let (waiter, error) = waiter { waiter.resume(returning: .failure(error)) }
        self.flush()
    }
}
