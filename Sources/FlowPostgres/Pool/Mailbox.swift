import CPostgres
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// Messages for a thread that waits in `poll`, and the descriptor that wakes it.
final class Mailbox<Message: Sendable>: Sendable {
    private struct State: Sendable {
        var messages: [Message] = []
        var isAwake = false
        var isClosed = false
    }

    private let state = Mutex(State())
    let descriptor: Int32

    init() throws(PostgresError) {
        // eventfd(2): one descriptor, and any number of wake-ups are read at once.
        let descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else { throw PostgresError(.busy, "no file descriptor is left; raise the file limit") }
        self.descriptor = descriptor
    }

    deinit { _ = Glibc.close(self.descriptor) }

    /// - Returns: whether it will be received; `false` after ``close()``.
    @discardableResult
    func send(_ message: Message) -> Bool {
        let (isTaken, mustWake) = self.state.withLock { state in
            if state.isClosed { return (false, false) }
            state.messages.append(message)
            defer { state.isAwake = true }
            return (true, !state.isAwake)
        }
        if mustWake {
            var one: UInt64 = 1
            _ = Glibc.write(self.descriptor, &one, 8)
        }
        return isTaken
    }

    /// Takes nothing any more. - Returns: what was sent and not received.
    func close() -> [Message] {
        self.state.withLock { state in
            state.isClosed = true
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// Everything that was sent since, in order. For the one thread that waits on ``descriptor``.
    func receive() -> [Message] {
        var count: UInt64 = 0
        _ = Glibc.read(self.descriptor, &count, 8)
        return self.state.withLock { state in
            defer {
                state.messages = []
                state.isAwake = false
            }
            return state.messages
        }
    }
}
