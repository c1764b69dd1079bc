import Synchronization

/// A limit of bytes over all connections of the hub, and of each account. Safe to use from any thread.
final class ByteBudget: Sendable {
    /// Which limit further bytes would exceed.
    enum Excess: Sendable {
        case account
        case total
    }

    /// Maximum bytes over all accounts.
    let limit: Int
    /// Maximum bytes of one account.
    let accountLimit: Int
    private let sum = Atomic<Int>(0)
    private let accounts = Mutex<[String: Int]>([:])
    private let accountExcesses = Atomic<Int>(0)
    private let totalExcesses = Atomic<Int>(0)

    /// - Parameters:
    ///   - limit: maximum bytes over all accounts.
    ///   - accountLimit: maximum bytes of one account.
    init(limit: Int, accountLimit: Int) {
        self.limit = limit
        self.accountLimit = accountLimit
    }

    /// The bytes in use, over all accounts.
    var bytes: Int { self.sum.load(ordering: .relaxed) }

    /// Numbers of requests and connections that were rejected or closed because of a limit.
    var excesses: (account: Int, total: Int) {
        (self.accountExcesses.load(ordering: .relaxed), self.totalExcesses.load(ordering: .relaxed))
    }

    /// Adds bytes if they fit, or if nothing else is held. The caller must ``release(_:of:)`` them later.
    /// - Returns: the limit that the bytes would exceed, which is counted; `nil` if they were added.
    func hold(_ bytes: Int, of account: String) -> Excess? {
        let excess = self.accounts.withLock { accounts -> Excess? in
            if let excess = self.excess(adding: bytes, of: account, in: accounts) { return excess }
            accounts[account, default: 0] += bytes
            self.sum.add(bytes, ordering: .relaxed)
            return nil
        }
        if let excess { self.countExcess(excess) }
        return excess
    }

    /// Adds bytes that are already in memory, also if they exceed a limit; or removes them if `difference` is negative.
    func change(by difference: Int, of account: String) {
        guard difference != 0 else { return }
        self.accounts.withLock { accounts in
            let own = accounts[account, default: 0] + difference
            accounts[account] = own > 0 ? own : nil
            self.sum.add(difference, ordering: .relaxed)
        }
    }

    /// Removes bytes that were added before.
    func release(_ bytes: Int, of account: String) { self.change(by: -bytes, of: account) }

    /// The limit that `bytes` further bytes would exceed; `nil` if they fit now. Nothing is added or counted.
    func excess(adding bytes: Int, of account: String) -> Excess? {
        self.accounts.withLock { self.excess(adding: bytes, of: account, in: $0) }
    }

    private func excess(adding bytes: Int, of account: String, in accounts: [String: Int]) -> Excess? {
        // If both limits are exceeded, report the account's: it is the one that the client can do something about.
        let own = accounts[account, default: 0]
        if own > 0, own + bytes > self.accountLimit { return .account }
        let all = self.sum.load(ordering: .relaxed)
        return all > 0 && all + bytes > self.limit ? .total : nil
    }

    /// Counts a request or a connection that was rejected or closed because of a limit.
    func countExcess(_ excess: Excess) {
        switch excess {
        case .account: self.accountExcesses.add(1, ordering: .relaxed)
        case .total: self.totalExcesses.add(1, ordering: .relaxed)
        }
    }
}
