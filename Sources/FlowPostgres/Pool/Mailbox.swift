import CPostgres
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// A queue of messages to a thread that waits in `poll`, with a file descriptor that wakes the thread.
final class Mailbox<Message: Sendable>: Sendable {
    private struct State: Sendable {
        var messages: [Message] = []
        /// Whether the thread was woken and has not received its messages yet.
        var isAwake = false
        /// Whether further messages are rejected.
        var isClosed = false
    }

    private let state = Mutex(State())
    /// Readable while messages wait.
    let descriptor: Int32

    init() throws(PostgresError) {
        // eventfd(2): needs a single descriptor, and one read clears any number of wake-ups.
        let descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else {
            throw PostgresError(
                .busy, "the process is out of file descriptors; raise its limit of open files (LimitNOFILE, ulimit -n)")
        }
        self.descriptor = descriptor
    }

    deinit { _ = Glibc.close(self.descriptor) }

    /// Appends a message and wakes the thread.
    /// - Returns: whether the message will be received; `false` after ``close()``.
    @discardableResult
    func send(_ message: Message) -> Bool {
        let (isAccepted, mustWake) = self.state.withLock { state in
            if state.isClosed { return (false, false) }
            state.messages.append(message)
            defer { state.isAwake = true }
            return (true, !state.isAwake)
        }
        if mustWake {
            var one: UInt64 = 1
            _ = Glibc.write(self.descriptor, &one, 8)
        }
        return isAccepted
    }

    /// Rejects all further messages.
    /// - Returns: the messages that were sent before and not received.
    func close() -> [Message] {
        self.state.withLock { state in
            state.isClosed = true
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// Removes and returns all messages, in order. To be called only by the thread that waits on ``descriptor``.
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
