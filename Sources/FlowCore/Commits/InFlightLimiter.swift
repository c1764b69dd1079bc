import Synchronization

/// A limit on the number and the total bytes of operations in flight, in total and of each account. ``closeAndDrain()`` rejects new operations and
/// returns when none is in flight any more. Safe to use from any thread.
package final class InFlightLimiter: Sendable {
    private struct State: Sendable {
        var count = 0
        var bytes = 0
        /// The same for each account with operations in flight.
        var accounts: [String: (count: Int, bytes: Int)] = [:]
        var isClosed = false
        /// The callers of ``InFlightLimiter/closeAndDrain()`` that wait.
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let maximumCount: Int
    private let maximumBytes: Int
    private let accountCount: Int
    private let accountBytes: Int
    private let overloadReason: String
    private let state = Mutex(State())

    /// - Parameters:
    ///   - maximumCount: maximum number of operations in flight.
    ///   - maximumBytes: maximum total bytes of the operations in flight. An operation that alone exceeds it is admitted
    ///     when no other is in flight.
    ///   - accountCount: maximum number of operations of one account.
    ///   - accountBytes: maximum total bytes of the operations of one account, likewise.
    ///   - overloadReason: the text of ``StoreError/overloaded(_:)``.
    package init(
        maximumCount: Int, maximumBytes: Int, accountCount: Int = .max, accountBytes: Int = .max, overloadReason: String
    ) {
        self.maximumCount = maximumCount
        self.maximumBytes = maximumBytes
        self.accountCount = accountCount
        self.accountBytes = accountBytes
        self.overloadReason = overloadReason
    }

    /// Whether no operation is in flight.
    package var isIdle: Bool { self.state.withLock { $0.count == 0 } }

    /// Admits an operation, which must call ``release(bytes:of:)`` with the same arguments when it ends. Does not wait.
    /// - Parameter account: the account that it counts for; `nil` if it counts for none.
    /// - Throws: ``StoreError/unavailable(_:)`` if the limiter is closed, ``StoreError/overloaded(_:)`` if a limit is reached.
    package func acquire(bytes: Int = 0, of account: String? = nil) throws(StoreError) {
        let rejection: StoreError? = self.state.withLock { state in
            if state.isClosed { return .unavailable("the store is shutting down") }
            let isTooMuch = state.bytes + bytes > self.maximumBytes && state.count > 0
            if state.count >= self.maximumCount || isTooMuch { return .overloaded(self.overloadReason) }
            if let account {
                let own = state.accounts[account, default: (0, 0)]
                let isAboveShare = own.bytes + bytes > self.accountBytes && own.count > 0
                if own.count >= self.accountCount || isAboveShare { return .overloaded(self.overloadReason) }
                state.accounts[account] = (own.count + 1, own.bytes + bytes)
            }
            state.count += 1
            state.bytes += bytes
            return nil
        }
        if let rejection { throw rejection }
    }

    /// Ends an operation that was admitted by ``acquire(bytes:of:)``.
    package func release(bytes: Int = 0, of account: String? = nil) {
        let waiters: [CheckedContinuation<Void, Never>] = self.state.withLock { state in
            state.count -= 1
            state.bytes -= bytes
            if let account, let own = state.accounts[account] {
                state.accounts[account] = own.count > 1 ? (own.count - 1, own.bytes - bytes) : nil
            }
            guard state.count == 0 else { return [] }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Rejects all operations from now on, and returns when none is in flight any more. May be called more than once.
    package func closeAndDrain() async {
        await withCheckedContinuation { waiter in
            let isIdle = self.state.withLock { state in
                state.isClosed = true
                if state.count > 0 { state.waiters.append(waiter) }
                return state.count == 0
            }
            if isIdle { waiter.resume() }
        }
    }
}
