import Synchronization

/// One request and its answer, between the transport's thread, which fills it, and the task that reads it.
final class Exchange: Sendable {
    /// What to do with bytes that came.
    enum Verdict { case accepted, pause, stop }

    private typealias HeadAnswer = CheckedContinuation<Result<TransportHead, TransportError>, Never>
    private typealias BytesAnswer = CheckedContinuation<Result<[UInt8]?, TransportError>, Never>

    private struct State: Sendable {
        var head: TransportHead?
        var headWaiter: HeadAnswer?
        var buffer: [UInt8] = []
        var bytesWaiter: BytesAnswer?
        var isPaused = false
        /// The outer one is `nil` while it is under way, the inner one if it ended well.
        var end: TransportError??

        /// What a reader gets now; `nil` if it has to wait.
        mutating func consumeBuffer() -> Result<[UInt8]?, TransportError>? {
            if !self.buffer.isEmpty {
                defer { self.buffer = [] }
                return .success(self.buffer)
            }
            guard let end = self.end else { return nil }
            if let error = end { return .failure(error) }
            return .success(nil)
        }

        /// - Returns: whether the transport must be told.
        mutating func unpause() -> Bool {
            defer { self.isPaused = false }
            return self.isPaused && self.end == nil
        }
    }

    let id: UInt64
    let request: TransportRequest
    let deadline: ContinuousClock.Instant
    private let bufferBytes: Int
    private let state = Mutex(State())

    init(id: UInt64, _ request: TransportRequest, deadline: ContinuousClock.Instant, bufferBytes: Int) {
        self.id = id
        self.request = request
        self.deadline = deadline
        self.bufferBytes = bufferBytes
    }

    // MARK: The reader

    /// Waits for the head of the answer.
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

    /// Waits for bytes: as many as there are. `nil` at the end.
    /// - Parameter resume: called if the transport had paused, and must be told that there is room again.
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

    // MARK: The thread

    /// Takes the head; a later one in its place is an error of the caller's.
    func deliver(_ head: TransportHead) {
        let waiter = self.state.withLock { state in
            state.head = head
            defer { state.headWaiter = nil }
            return state.headWaiter
        }
        waiter?.resume(returning: .success(head))
    }

    var hasHead: Bool { self.state.withLock { $0.head != nil } }
    var hasEnded: Bool { self.state.withLock { $0.end != nil } }

    /// Takes bytes of the body, if there is room for them.
    func accept(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        self.state.withLock { state in
            if state.end != nil { return .stop }
            // Whatever its size, the first piece is taken: otherwise nothing would ever move.
            if !state.buffer.isEmpty, state.buffer.count + bytes.count > self.bufferBytes {
                state.isPaused = true
                return .pause
            }
            state.buffer.append(contentsOf: bytes)
            return .accepted
        }
    }

    /// Hands what has come to a reader who waits. Called after all that was ready has been taken, so that a reader is woken
    /// for many pieces at once.
    func flush() {
        let woken = self.state.withLock { state -> (BytesAnswer, Result<[UInt8]?, TransportError>)? in
            guard let waiter = state.bytesWaiter, let result = state.consumeBuffer() else { return nil }
            state.bytesWaiter = nil
            return (waiter, result)
        }
        if let (waiter, result) = woken { waiter.resume(returning: result) }
    }

    /// It is over. What came before the end can still be read. Only the first end counts.
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
