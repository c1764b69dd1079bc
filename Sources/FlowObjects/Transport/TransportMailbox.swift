import CCurl
import Synchronization

/// What the transport's thread is told.
enum TransportMessage: Sendable {
    case start(Exchange)
    /// The reader has room again.
    case resume(UInt64)
    /// Nobody wants the answer any more.
    case cancel(UInt64)
    /// Ends everything, frees the handle, and tells whoever waits for it.
    case close(CheckedContinuation<Void, Never>?)
}

/// Messages for the transport's thread, which waits in `curl_multi_poll`.
final class TransportMailbox: Sendable {
    /// `curl_multi_wakeup` is the one function that any thread may call with another thread's handle (its manual page), as long
    /// as the handle lives; the state below says how long that is.
    private struct Handle: @unchecked Sendable { let multi: UnsafeMutableRawPointer }

    private struct State: Sendable {
        var messages: [TransportMessage] = []
        var isClosed = false
    }

    private let handle: Handle
    private let state = Mutex(State())

    init(multi: UnsafeMutableRawPointer) { self.handle = Handle(multi: multi) }

    /// - Returns: whether it will be received.
    @discardableResult
    func send(_ message: TransportMessage) -> Bool {
        self.state.withLock { state in
            if state.isClosed { return false }
            state.messages.append(message)
            if state.messages.count == 1 { curl_multi_wakeup(self.handle.multi) }
            return true
        }
    }

    /// Everything that was sent since. For the thread.
    func receive() -> [TransportMessage] {
        self.state.withLock { state in
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// Takes nothing more; afterwards the handle may be freed. For the thread.
    /// - Returns: what nobody has received.
    func close() -> [TransportMessage] {
        self.state.withLock { state in
            state.isClosed = true
            defer { state.messages = [] }
            return state.messages
        }
    }
}
