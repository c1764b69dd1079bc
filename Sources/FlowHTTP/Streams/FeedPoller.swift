import FlowCore
import Logging
import Synchronization

/// Asks the store once a second what changed in the accounts whose feed somebody reads.
final class FeedPoller: Sendable {
    private struct Account {
        var readers = 0
        var since: Timestamp
        /// The versions told within the overlap, so that nothing is told twice.
        var told: [FlowID: Version] = [:]
    }

    /// Changes may become visible later than they are dated: by the longest transaction allowed.
    private static let overlapSeconds: Int64 = 10
    private static let pageSize = 1_000

    private let manager: StateManager
    private let loops: LoopContexts
    private let now: @Sendable () -> Timestamp
    private let accounts = Mutex<[String: Account]>([:])

    init(manager: StateManager, loops: LoopContexts, now: @escaping @Sendable () -> Timestamp) {
        self.manager = manager
        self.loops = loops
        self.now = now
    }

    func run(changes: AsyncStream<FeedChange>) async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.poll() }
            for await change in changes { self.note(change) }
            group.cancelAll()
        }
    }

    private func note(_ change: FeedChange) {
        let now = self.now()
        self.accounts.withLock { accounts in
            switch change {
            case .joined(let account):
                accounts[account, default: Account(since: now)].readers += 1
            case .left(let account):
                accounts[account]?.readers -= 1
                if accounts[account]?.readers == 0 { accounts[account] = nil }
            }
        }
    }

    private func poll() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            for account in self.accounts.withLock({ Array($0.keys) }) { await self.poll(account) }
        }
    }

    private func poll(_ account: String) async {
        guard let since = self.accounts.withLock({ $0[account]?.since }) else { return }
        let began = self.now()
        let query = FlowQuery(
            account: account, order: .changed(since: since.advanced(bySeconds: -Self.overlapSeconds)), includesDeleted: true,
            limit: Self.pageSize)
        guard let list = try? await self.manager.list(query) else { return }
        let fresh: [FlowHead] = self.accounts.withLock { accounts in
            guard var entry = accounts[account] else { return [] }
            let fresh = list.flows.filter { head in entry.told[head.flow].map { $0 < head.version } ?? true }
            entry.told = Dictionary(list.flows.map { ($0.flow, $0.version) }, uniquingKeysWith: max)
            // With more changes than one page holds, the next poll goes on where this one ended.
            entry.since = list.hasMore ? (list.flows.last?.updatedAt ?? began).advanced(bySeconds: Self.overlapSeconds) : began
            accounts[account] = entry
            return fresh
        }
        if !fresh.isEmpty { self.loops.onEach { $0.shard.feed(fresh, account: account) } }
    }
}
