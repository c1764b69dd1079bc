public import FlowCore
import Synchronization

/// Mapping patterns of a single-process hub. They do not survive a restart. Of an account that exceeds its limits, the least
/// recently used ones are evicted first (CLOCK).
public final class MemoryMappingPatternStore: MappingPatternStore {
    private struct Kept: Sendable {
        var pattern: MappingPattern
        var expiresAt: Timestamp
    }

    private typealias Cache = ClockCache<String, Kept>

    /// The mapping patterns of all accounts, expired ones among them.
    private struct Table: Sendable {
        /// No account has an empty cache.
        var accounts: [String: Cache] = [:]
        /// Number of patterns of all accounts.
        var count = 0
        /// Cost of the patterns of all accounts.
        var cost = 0
        var evictions = 0

        /// Changes an account's cache.
        mutating func change<Result>(_ account: String, default empty: Cache, _ body: (inout Cache) -> Result) -> Result {
            // Taken out of the dictionary, so that the change does not copy it.
            var cache = self.accounts.removeValue(forKey: account) ?? empty
            (self.count, self.cost) = (self.count - cache.count, self.cost - cache.cost)
            let result = body(&cache)
            (self.count, self.cost) = (self.count + cache.count, self.cost + cache.cost)
            if cache.count > 0 { self.accounts[account] = cache }
            return result
        }
    }

    private let limits: MappingPatternLimits
    private let table = Mutex(Table())
    private let now: @Sendable () -> Timestamp

    /// - Parameter now: the wall clock, for the expiry of mapping patterns.
    public init(limits: MappingPatternLimits = .init(), now: @escaping @Sendable () -> Timestamp) {
        self.limits = limits
        self.now = now
    }

    public var evictions: Int { self.table.withLock { $0.evictions } }

    /// The account's mapping pattern under the key; `nil` if there is none or it has expired.
    public func pattern(_ key: String, account: String) async throws(MappingPatternError) -> MappingPattern? {
        let now = self.now()
        return self.table.withLock { table in
            table.change(account, default: self.empty) { Self.unexpired(key, in: &$0, now)?.pattern }
        }
    }

    /// Stores a mapping pattern in place of the account's earlier one.
    /// - Parameter seconds: time until the mapping pattern expires.
    /// - Returns: `true` if the key had no mapping pattern; `false` if the account's earlier one was replaced.
    /// - Throws: `tooMany` if the patterns of other accounts leave no room.
    public func put(
        _ pattern: MappingPattern, key: String, account: String, seconds: Int
    ) async throws(MappingPatternError) -> Bool {
        let now = self.now()
        let fresh = Kept(pattern: pattern, expiresAt: now.advanced(bySeconds: Int64(seconds)))
        let cost = pattern.cost(key: key, account: account)
        let isNew: Bool? = self.table.withLock { table in
            if !self.hasRoom(for: cost, of: account, in: table) {
                self.removeExpired(from: &table, now)
                guard self.hasRoom(for: cost, of: account, in: table) else { return nil }
            }
            let others = Self.others(than: account, in: table)
            let (isNew, evicted) = table.change(account, default: self.empty) { cache in
                let isNew = Self.unexpired(key, in: &cache, now) == nil
                var evicted = cache.set(fresh, for: key, cost: cost).count
                while others.count + cache.count > self.limits.patterns || others.cost + cache.cost > self.limits.bytes {
                    guard cache.evictAny(except: key) else { break }
                    evicted += 1
                }
                return (isNew, evicted)
            }
            table.evictions += evicted
            return isNew
        }
        guard let isNew else { throw .tooMany }
        return isNew
    }

    /// Removes the account's mapping pattern.
    /// - Returns: whether the account had one under the key.
    public func remove(_ key: String, account: String) async throws(MappingPatternError) -> Bool {
        let now = self.now()
        return self.table.withLock { table in
            table.change(account, default: self.empty) { cache in
                guard Self.unexpired(key, in: &cache, now) != nil else { return false }
                cache.removeValue(for: key)
                return true
            }
        }
    }

    // MARK: Private

    /// The cache of an account without patterns.
    private var empty: Cache {
        Cache(maximumEntries: self.limits.accountPatterns, maximumCost: self.limits.accountBytes)
    }

    /// Number and cost of the patterns of all other accounts.
    private static func others(than account: String, in table: Table) -> (count: Int, cost: Int) {
        let own = table.accounts[account]
        return (table.count - (own?.count ?? 0), table.cost - (own?.cost ?? 0))
    }

    /// Whether a pattern fits beside those of all other accounts.
    private func hasRoom(for cost: Int, of account: String, in table: Table) -> Bool {
        let others = Self.others(than: account, in: table)
        return others.count < self.limits.patterns && others.cost + cost <= self.limits.bytes
    }

    /// Removes the expired patterns of all accounts.
    private func removeExpired(from table: inout Table, _ now: Timestamp) {
        for account in Array(table.accounts.keys) {
            table.change(account, default: self.empty) { cache in
                var expired: [String] = []
                cache.forEach { if $1.expiresAt <= now { expired.append($0) } }
                for key in expired { cache.removeValue(for: key) }
            }
        }
    }

    /// The entry under the key; `nil` if there is none. An expired entry is removed.
    private static func unexpired(_ key: String, in cache: inout Cache, _ now: Timestamp) -> Kept? {
        guard let known = cache.value(for: key) else { return nil }
        if known.expiresAt > now { return known }
        cache.removeValue(for: key)
        return nil
    }
}
