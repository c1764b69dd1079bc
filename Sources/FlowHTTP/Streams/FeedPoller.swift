import FlowCore
import Logging
import Synchronization

/// Polls the store once a second for changed flows of the accounts that have an open feed.
final class FeedPoller: Sendable {
    private struct Account {
        /// Number of open feeds of the account.
        var readers = 0
        /// Start of the last successful poll; before the first poll, the time at which the feed's list was read. The next
        /// poll reads changes since then, with an overlap.
        var since: Timestamp
        /// The versions that the last poll read; before the first poll, those in the feed's list. The next poll reads some of
        /// them again, because it overlaps, and does not report them.
        var reported: [FlowID: Version] = [:]
    }

    /// Overlap of consecutive polls. A change becomes visible when its transaction commits, which may be later than its
    /// timestamp by up to the longest transaction.
    private static let overlapSeconds: Int64 = 10
    private static let pageSize = 1_000

    private let manager: StateManager
    private let loops: EventLoopContextSet
    private let now: @Sendable () -> Timestamp
    private let accounts = Mutex<[String: Account]>([:])

    init(manager: StateManager, loops: EventLoopContextSet, now: @escaping @Sendable () -> Timestamp) {
        self.manager = manager
        self.loops = loops
        self.now = now
    }

    /// Polls until `changes` ends, for the accounts that have an open feed according to `changes`.
    func run(changes: AsyncStream<FeedMembershipChange>) async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.poll() }
            for await change in changes { self.applyMembershipChange(change) }
            group.cancelAll()
        }
    }

    /// Counts the open feeds of an account. The account is polled from its first opened feed until its last feed is closed.
    private func applyMembershipChange(_ change: FeedMembershipChange) {
        self.accounts.withLock { accounts in
            switch change {
            case .joined(let account, let since, let versions):
                accounts[account, default: Account(since: since, reported: versions)].readers += 1
            case .left(let account):
                accounts[account]?.readers -= 1
                if accounts[account]?.readers == 0 { accounts[account] = nil }
            }
        }
    }

    /// Polls the accounts once a second, one after the other, until the task is cancelled.
    private func poll() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            for account in self.accounts.withLock({ Array($0.keys) }) { await self.poll(account) }
        }
    }

    /// Reads the flows of an account that have changed since the last poll, and passes new versions to the feeds.
    private func poll(_ account: String) async {
        guard let since = self.accounts.withLock({ $0[account]?.since }) else { return }
        let startedAt = self.now()
        var reported: [FlowID: Version] = [:]
        var order = FlowQuery.Order.changed(since: since.advanced(bySeconds: -Self.overlapSeconds), after: nil)
        var hasMore = true
        while hasMore {
            let query = FlowQuery(account: account, order: order, includesDeleted: true, limit: Self.pageSize)
            // After a failed read the next poll starts from the same `since`.
            guard let page = try? await self.manager.list(query) else { return }
            guard let last = page.flows.last else { break }
            hasMore = page.hasMore
            order = .changed(since: last.updatedAt, after: last.flow)
            let alreadyReported = self.accounts.withLock { $0[account]?.reported ?? [:] }
            let newer = page.flows.filter { head in alreadyReported[head.flow].map { $0 < head.version } ?? true }
            for head in page.flows { reported[head.flow] = head.version }
            if !newer.isEmpty { self.loops.forEachLoop { $0.shard.deliverFeedChanges(newer, account: account) } }
        }
        let versions = reported
        self.accounts.withLock { accounts in
            accounts[account]?.reported = versions
            accounts[account]?.since = startedAt
        }
    }
}
