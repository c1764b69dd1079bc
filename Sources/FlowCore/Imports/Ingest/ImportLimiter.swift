import Synchronization

/// Limits the number of concurrent imports, in total and for each account. Safe to use from any thread.
final class ImportLimiter: Sendable {
    /// The numbers of imports in progress.
    private struct State {
        var total = 0
        var byAccount: [String: Int] = [:]
    }

    /// Maximum number of concurrent imports in total.
    private let limit: Int
    /// Maximum number of concurrent imports of one account.
    private let accountLimit: Int
    private let state = Mutex(State())

    init(limit: Int, accountLimit: Int) {
        self.limit = limit
        self.accountLimit = accountLimit
    }

    /// Whether no import is in progress.
    var isIdle: Bool { self.state.withLock { $0.total == 0 } }

    /// Counts one more import of an account. The caller must call ``release(_:)`` when the import has ended.
    /// - Throws: ``ImportError/busy(limit:)`` or ``ImportError/accountBusy(limit:)``.
    func acquire(_ account: String) throws(ImportError) {
        let rejection: ImportError? = self.state.withLock { state in
            let own = state.byAccount[account, default: 0]
            // If both limits are reached, report the account's limit: the end of another account's import would not
            // help this account.
            if own >= self.accountLimit, self.accountLimit < self.limit { return .accountBusy(limit: self.accountLimit) }
            if state.total >= self.limit { return .busy(limit: self.limit) }
            state.byAccount[account] = own + 1
            state.total += 1
            return nil
        }
        if let rejection { throw rejection }
    }

    /// Counts one import less of an account. Called once for each ``acquire(_:)`` that has returned without an error.
    func release(_ account: String) {
        self.state.withLock { state in
            state.total -= 1
            let own = state.byAccount[account, default: 1] - 1
            state.byAccount[account] = own > 0 ? own : nil
        }
    }
}
