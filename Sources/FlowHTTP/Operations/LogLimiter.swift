import NIOCore
import Synchronization

/// Limits how often a repeated message is logged, so that a client cannot fill the log. Safe to use from any thread.
final class LogLimiter: Sendable {
    private struct State {
        var nextLog: NIODeadline = .uptimeNanoseconds(0)
        var unlogged = 0
    }

    private let interval: TimeAmount
    private let state = Mutex(State())

    /// - Parameter interval: minimum time between two logged messages.
    init(interval: TimeAmount = .minutes(1)) { self.interval = interval }

    /// Counts an occurrence.
    /// - Returns: the number of occurrences since the last logged message if this one is to be logged; else `nil`.
    func record(at now: NIODeadline = .now()) -> Int? {
        self.state.withLock { state in
            state.unlogged += 1
            guard now >= state.nextLog else { return nil }
            state.nextLog = now + self.interval
            defer { state.unlogged = 0 }
            return state.unlogged
        }
    }
}
