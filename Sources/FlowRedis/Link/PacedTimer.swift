import NIOCore
import Synchronization

/// Calls a closure on an event loop again and again, at an interval that may change. Safe to use from any thread.
final class PacedTimer: Sendable {
    private struct State {
        var isStopped = false
        var next: Scheduled<Void>?
    }

    private let loop: any EventLoop
    private let interval: @Sendable () -> Int64
    private let body: @Sendable () -> Void
    private let state = Mutex(State())

    /// - Parameter interval: supplies the milliseconds until the next call; asked after each call and by ``restart()``.
    init(_ loop: any EventLoop, interval: @escaping @Sendable () -> Int64, _ body: @escaping @Sendable () -> Void) {
        self.loop = loop
        self.interval = interval
        self.body = body
    }

    /// Waits for the present interval from now on.
    func restart() { self.start(after: self.interval()) }

    /// Makes the next call after this many milliseconds, instead of the one that was due.
    func start(after milliseconds: Int64) {
        self.state.withLock { state in
            guard !state.isStopped else { return }
            state.next?.cancel()
            state.next = self.loop.scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in
                guard let self else { return }
                self.restart()
                self.body()
            }
        }
    }

    /// Ends the calls for good.
    func stop() {
        self.state.withLock { state in
            state.isStopped = true
            state.next?.cancel()
        }
    }
}
