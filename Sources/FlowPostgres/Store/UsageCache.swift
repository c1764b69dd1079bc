public import FlowCore
import Synchronization

/// What accounts store, as read and changed by this process last, so that a change of a busy account needs no read.
///
/// Other instances change the counts too. An entry is therefore used for a short time, and only while the account is far from
/// its limits. Near a limit each batch reads the counts, so an account exceeds a limit at most by the batches that are written
/// at the same time: one for each connection for changes.
final class UsageCache: Sendable {
    private struct Entry {
        var usage: AccountUsage
        var readAt: ContinuousClock.Instant
    }

    /// Maximum age of an entry that is used.
    private static let maximumAge = Duration.seconds(1)
    /// Maximum number of accounts; above it all entries are dropped.
    private static let maximumAccounts = 10_000

    private let limits: AccountLimits
    private let entries = Mutex<[String: Entry]>([:])

    init(limits: AccountLimits) { self.limits = limits }

    /// What the account stores; `nil` if it must be read.
    func usage(of account: String) -> AccountUsage? {
        guard let entry = self.entries.withLock({ $0[account] }), .now - entry.readAt < Self.maximumAge else { return nil }
        let isNearLimit = AccountResource.allCases.contains { resource in
            self.limits[resource] > 0 && entry.usage[resource] >= self.limits[resource] / 8 * 7
        }
        return isNearLimit ? nil : entry.usage
    }

    /// Caches counts that were read just now.
    func set(_ usages: [String: AccountUsage]) {
        self.entries.withLock { entries in
            if entries.count + usages.count > Self.maximumAccounts { entries = [:] }
            for (account, usage) in usages { entries[account] = Entry(usage: usage, readAt: .now) }
        }
    }

    /// Adds the differences of a committed batch.
    func add(_ changes: [String: AccountUsage]) {
        self.entries.withLock { entries in
            for (account, growth) in changes {
                guard let usage = entries[account]?.usage else { continue }
                entries[account]?.usage = usage + growth
            }
        }
    }

    /// Drops the entries of these accounts.
    func remove(_ accounts: some Sequence<String>) {
        self.entries.withLock { entries in for account in accounts { entries[account] = nil } }
    }
}

extension PostgresFlowStore {
    /// Reads what the account stores.
    public func usage(of account: String) async throws(StoreError) -> AccountUsage {
        let result = try await self.readCounts(ChangeStatements.usage(of: [account]))
        return result.first?.usage(at: 1) ?? AccountUsage()
    }

    /// Reads for each resource the highest count of any account.
    public func highestUsage() async throws(StoreError) -> AccountUsage {
        let highest = StoreSQL.counts.map { "max(\($0))" }.joined(separator: ", ")
        let sums = StoreSQL.counts.map { "sum(\($0))::bigint AS \($0)" }.joined(separator: ", ")
        let result = try await self.readCounts(
            Statement("SELECT \(highest) FROM (SELECT \(sums) FROM account_usage GROUP BY account) u"))
        return result.first?.usage(at: 0) ?? AccountUsage()
    }

    /// Runs a statement that reads counts. They do not depend on the epoch.
    private func readCounts(_ statement: Statement) async throws(StoreError) -> ResultSet {
        do throws(PoolFailure) {
            return try await self.pool.run(.control, [statement], isRetryable: true)[0]
        } catch {
            throw StoreError(error.withoutEffect(.isRead))
        }
    }
}
