import CCurl
import Synchronization

/// A message to the transport's thread.
enum TransportMessage: Sendable {
    /// Sends the request of an exchange as soon as a connection is free.
    case start(Exchange)
    /// Resumes the paused exchange with this id, because its buffer has room again.
    case resume(UInt64)
    /// Cancels the exchange with this id.
    case cancel(UInt64)
    /// Ends all exchanges, frees the multi handle, and resumes the continuation. `nil` if no caller waits for that.
    case close(CheckedContinuation<Void, Never>?)
}

/// Queue of messages to the transport's thread, which waits in `curl_multi_poll`.
final class TransportMailbox: Sendable {
    /// The multi handle of the transport's thread. `curl_multi_wakeup` is the only function that another thread may call
    /// on the handle (see its manual page), as long as the handle exists: `send` does not use it once `isClosed` is set.
    private struct Handle: @unchecked Sendable { let multi: UnsafeMutableRawPointer }

    private struct State: Sendable {
        var messages: [TransportMessage] = []
        var isClosed = false
    }

    private let handle: Handle
    private let state = Mutex(State())

    init(multi: UnsafeMutableRawPointer) { self.handle = Handle(multi: multi) }

    /// Sends a message and wakes the thread.
    /// - Returns: whether the message was queued; `false` after ``close()``.
    @discardableResult
    func send(_ message: TransportMessage) -> Bool {
        self.state.withLock { state in
            if state.isClosed { return false }
            state.messages.append(message)
            if state.messages.count == 1 { curl_multi_wakeup(self.handle.multi) }
            return true
        }
    }

    /// Removes and returns all messages that were sent since the previous call. Called by the transport's thread.
    func receive() -> [TransportMessage] {
        self.state.withLock { state in
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// Closes the mailbox: ``send(_:)`` returns `false` from now on, and the multi handle may be freed. Called by the
    /// transport's thread.
    /// - Returns: the messages that ``receive()`` has not returned.
    func close() -> [TransportMessage] {
        self.state.withLock { state in
            state.isClosed = true
            defer { state.messages = [] }
            return state.messages
        }
    }
}
