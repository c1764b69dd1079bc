import DequeModule
import NIOCore
import Synchronization

/// The body of a request that is answered while it comes in. The connection hands parts over on its event loop; one task takes
/// them, on any thread. When more than a few wait, the connection stops reading its socket.
final class RequestBodyStream: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    /// The peer is gone, and with it the rest of the body.
    struct Disconnected: Error {}

    /// Bytes that wait before the socket is left alone.
    private static let capacity = 262_144

    private struct State {
        var parts = Deque<ByteBuffer>()
        var bytes = 0
        var isComplete = false
        var failure: (any Error)?
        var hasStartedReading = false
        var waiter: CheckedContinuation<ByteBuffer?, any Error>?
    }

    private let state = Mutex(State())
    /// Called when the first part is asked for: the peer may be waiting for a word.
    private let onFirstRead: @Sendable () -> Void
    /// Called when there is room again.
    private let onDrain: @Sendable () -> Void

    init(onFirstRead: @escaping @Sendable () -> Void, onDrain: @escaping @Sendable () -> Void) {
        self.onFirstRead = onFirstRead
        self.onDrain = onDrain
    }

    // MARK: The connection's side

    var isFull: Bool { self.state.withLock { $0.bytes >= Self.capacity } }

    func append(_ part: ByteBuffer) {
        guard part.readableBytes > 0 else { return }
        let waiter = self.state.withLock { state -> CheckedContinuation<ByteBuffer?, any Error>? in
            guard state.failure == nil else { return nil }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            state.parts.append(part)
            state.bytes += part.readableBytes
            return nil
        }
        waiter?.resume(returning: part)
    }

    func finish() {
        let waiter = self.state.withLock { state in
            state.isComplete = true
            return state.waiter.take()
        }
        waiter?.resume(returning: nil)
    }

    /// What is waiting is dropped, too.
    func fail(_ error: any Error) {
        let waiter = self.state.withLock { state -> CheckedContinuation<ByteBuffer?, any Error>? in
            guard state.failure == nil, !state.isComplete || state.bytes > 0 else { return nil }
            state.failure = error
            state.parts = []
            state.bytes = 0
            return state.waiter.take()
        }
        waiter?.resume(throwing: error)
    }

    // MARK: The task's side

    func makeAsyncIterator() -> Iterator { Iterator(body: self) }

    struct Iterator: AsyncIteratorProtocol {
        let body: RequestBodyStream

        func next() async throws -> ByteBuffer? { try await self.body.next() }
    }

    /// A task that is cancelled while it waits waits no longer; the rest of the body may still come.
    private func next() async throws -> ByteBuffer? {
        try await withTaskCancellationHandler {
            try await self.nextPart()
        } onCancel: {
            let waiter = self.state.withLock { $0.waiter.take() }
            waiter?.resume(throwing: CancellationError())
        }
    }

    private func nextPart() async throws -> ByteBuffer? {
        let isFirst = self.state.withLock { state in
            defer { state.hasStartedReading = true }
            return !state.hasStartedReading
        }
        if isFirst { self.onFirstRead() }
        return try await withCheckedThrowingContinuation { waiter in
            let (result, hasRoom) = self.state.withLock { state -> (Result<ByteBuffer?, any Error>?, Bool) in
                if let failure = state.failure { return (.failure(failure), false) }
                // Asked for under the lock: a cancellation from now on finds the waiter.
                if Task.isCancelled { return (.failure(CancellationError()), false) }
                let wasFull = state.bytes >= Self.capacity
                if let part = state.parts.popFirst() {
                    state.bytes -= part.readableBytes
                    return (.success(part), wasFull && state.bytes < Self.capacity)
                }
                if state.isComplete { return (.success(nil), false) }
                state.waiter = waiter
                return (nil, false)
            }
            // Whoever makes room says so, each time: the socket may have been left alone at any moment before.
            if hasRoom { self.onDrain() }
            if let result { waiter.resume(with: result) }
        }
    }
}

extension Optional {
    fileprivate mutating func take() -> Wrapped? {
        defer { self = nil }
        return self
    }
}
