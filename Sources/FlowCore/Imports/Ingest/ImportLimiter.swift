import Synchronization

/// How many imports are being taken in at once, and whose. Safe to use from any thread.
final class ImportLimiter: Sendable {
    private struct State {
        var total = 0
        var byAccount: [String: Int] = [:]
    }

    private let limit: Int
    private let accountLimit: Int
    private let state = Mutex(State())

    init(limit: Int, accountLimit: Int) {
        self.limit = limit
        self.accountLimit = accountLimit
    }

    var isEmpty: Bool { self.state.withLock { $0.total == 0 } }

    /// Whoever is in must ``leave(_:)``.
    /// - Throws: ``ImportError/busy(limit:)`` or ``ImportError/accountBusy(limit:)``.
    func enter(_ account: String) throws(ImportError) {
        let refusal: ImportError? = self.state.withLock { state in
            let own = state.byAccount[account, default: 0]
            // Its own limit first, if it has one: to wait for others would not help.
            if own >= self.accountLimit, self.accountLimit < self.limit { return .accountBusy(limit: self.accountLimit) }
            if state.total >= self.limit { return .busy(limit: self.limit) }
            state.byAccount[account] = own + 1
            state.total += 1
            return nil
        }
        if let refusal { throw refusal }
    }

    func leave(_ account: String) {
        self.state.withLock { state in
            state.total -= 1
            let own = state.byAccount[account, default: 1] - 1
            state.byAccount[account] = own > 0 ? own : nil
        }
    }
}
