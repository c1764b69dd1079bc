import DequeModule
import NIOCore
import Synchronization

/// The body of a request that is answered while it arrives. The connection appends chunks on its event loop; one task reads
/// them, on any thread. While the buffered bytes have reached the capacity, the connection does not read its socket. The buffered
/// bytes are counted in a ``ByteBudget``.
final class RequestBodyStream: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    /// The client has disconnected before the end of the body, or of the response.
    struct Disconnected: Error {}

    /// Number of buffered bytes from which on the connection does not read its socket.
    private let capacity: Int
    private let budget: ByteBudget
    private let account: String

    private struct State {
        var chunks = Deque<ByteBuffer>()
        /// Bytes of the buffered chunks.
        var bytes = 0
        var isComplete = false
        var failure: (any Error)?
        var hasStartedReading = false
        var waiter: CheckedContinuation<ByteBuffer?, any Error>?
    }

    private let state = Mutex(State())
    /// Called when the first chunk is requested: the client may be waiting for `100 Continue`.
    private let onFirstRead: @Sendable () -> Void
    /// Called when the buffered bytes have fallen below ``capacity``.
    private let onDrain: @Sendable () -> Void

    /// - Parameters:
    ///   - capacity: number of buffered bytes from which on the connection does not read its socket.
    ///   - budget: counts the buffered bytes for the account.
    init(
        capacity: Int, budget: ByteBudget, account: String, onFirstRead: @escaping @Sendable () -> Void,
        onDrain: @escaping @Sendable () -> Void
    ) {
        self.capacity = capacity
        self.budget = budget
        self.account = account
        self.onFirstRead = onFirstRead
        self.onDrain = onDrain
    }

    deinit {
        // A task that rejects an import does not read the rest of its body.
        self.budget.release(self.state.withLock { $0.bytes }, of: self.account)
    }

    // MARK: The connection's side

    /// Whether ``capacity`` is reached, so that the connection must stop reading its socket.
    var isFull: Bool { self.state.withLock { $0.bytes >= self.capacity } }

    /// Whether the reading task waits for the client: everything that was received has been read.
    var isWaiting: Bool { self.state.withLock { $0.waiter != nil } }

    /// Passes a chunk of the body to the reading task, or buffers the chunk until the task requests it. Ignores the chunk after
    /// a failure.
    func append(_ chunk: ByteBuffer) {
        guard chunk.readableBytes > 0 else { return }
        let waiter = self.state.withLock { state -> CheckedContinuation<ByteBuffer?, any Error>? in
            guard state.failure == nil else { return nil }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            state.chunks.append(chunk)
            state.bytes += chunk.readableBytes
            self.budget.change(by: chunk.readableBytes, of: self.account)
            return nil
        }
        waiter?.resume(returning: chunk)
    }

    /// Marks the body as complete. After the buffered chunks the reading task receives `nil`.
    func finish() {
        let waiter = self.state.withLock { state in
            state.isComplete = true
            return state.waiter.take()
        }
        waiter?.resume(returning: nil)
    }

    /// Fails the reading task, also before it has read the buffered chunks, which are dropped. Does nothing if the body is
    /// complete and read.
    func fail(_ error: any Error) {
        let waiter = self.state.withLock { state -> CheckedContinuation<ByteBuffer?, any Error>? in
            guard state.failure == nil, !state.isComplete || state.bytes > 0 else { return nil }
            state.failure = error
            self.budget.release(state.bytes, of: self.account)
            state.chunks = []
            state.bytes = 0
            return state.waiter.take()
        }
        waiter?.resume(throwing: error)
    }

    // MARK: The task's side

    /// The iterator of the reading task. A body can be read once only.
    func makeAsyncIterator() -> Iterator { Iterator(body: self) }

    struct Iterator: AsyncIteratorProtocol {
        let body: RequestBodyStream

        func next() async throws -> ByteBuffer? { try await self.body.next() }
    }

    /// Returns the next chunk, or `nil` at the end.
    /// - Throws: `CancellationError` if the task is cancelled, although the rest of the body may still arrive; else the error
    ///   of ``fail(_:)``.
    private func next() async throws -> ByteBuffer? {
        try await withTaskCancellationHandler {
            try await self.nextChunk()
        } onCancel: {
            let waiter = self.state.withLock { $0.waiter.take() }
            waiter?.resume(throwing: CancellationError())
        }
    }

    /// Returns a buffered chunk, or suspends until one arrives or the body ends or fails.
    private func nextChunk() async throws -> ByteBuffer? {
        let isFirst = self.state.withLock { state in
            defer { state.hasStartedReading = true }
            return !state.hasStartedReading
        }
        if isFirst { self.onFirstRead() }
        return try await withCheckedThrowingContinuation { waiter in
            let (result, hasRoom) = self.state.withLock { state -> (Result<ByteBuffer?, any Error>?, Bool) in
                if let failure = state.failure { return (.failure(failure), false) }
                // Checked under the lock: a cancellation after this check finds the waiter and resumes it.
                if Task.isCancelled { return (.failure(CancellationError()), false) }
                let wasFull = state.bytes >= self.capacity
                if let chunk = state.chunks.popFirst() {
                    state.bytes -= chunk.readableBytes
                    self.budget.release(chunk.readableBytes, of: self.account)
                    return (.success(chunk), wasFull && state.bytes < self.capacity)
                }
                if state.isComplete { return (.success(nil), false) }
                state.waiter = waiter
                return (nil, false)
            }
            // Called each time the buffered bytes fall below the capacity, because the connection may have paused its
            // reads.
            if hasRoom { self.onDrain() }
            if let result { waiter.resume(with: result) }
        }
    }
}

extension Optional {
    /// Returns the value and sets the optional to `nil`.
    fileprivate mutating func take() -> Wrapped? {
        defer { self = nil }
        return self
    }
}
