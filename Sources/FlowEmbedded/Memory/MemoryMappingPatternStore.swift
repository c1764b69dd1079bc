public import FlowCore
import Synchronization

/// Mapping patterns of a single-process hub. They do not survive a restart. The least recently used ones are evicted
/// first (CLOCK).
public final class MemoryMappingPatternStore: MappingPatternStore {
    public struct Limits: Hashable, Sendable {
        /// Maximum number of mapping patterns.
        public var patterns = 10_000
        /// Maximum bytes of all mapping patterns, including an estimate of the overhead.
        public var bytes = 33_554_432

        public init() {}
    }

    private struct Kept: Sendable {
        var pattern: MappingPattern
        var account: String
        var expiresAt: Timestamp
    }

    /// Estimated bytes of an entry in addition to pattern, key and account.
    private static let overhead = 256

    private let kept: Mutex<ClockCache<String, Kept>>
    private let now: @Sendable () -> Timestamp

    /// - Parameter now: the wall clock, for the expiry of mapping patterns.
    public init(limits: Limits = .init(), now: @escaping @Sendable () -> Timestamp) {
        self.kept = Mutex(ClockCache(maximumEntries: limits.patterns, maximumCost: limits.bytes))
        self.now = now
    }

    /// The account's mapping pattern under the key; `nil` if there is none, it has expired, or the key belongs to
    /// another account.
    public func pattern(_ key: String, account: String) async throws(MappingPatternError) -> MappingPattern? {
        let now = self.now()
        return self.kept.withLock { kept in
            guard let known = Self.unexpired(key, in: &kept, now), known.account == account else { return nil }
            return known.pattern
        }
    }

    /// Stores a mapping pattern in place of the account's earlier one.
    /// - Parameter seconds: time until the mapping pattern expires.
    /// - Returns: `true` if the key had no mapping pattern; `false` if the account's earlier one was replaced.
    /// - Throws: `otherAccount` if the key belongs to another account.
    public func put(
        _ pattern: MappingPattern, key: String, account: String, seconds: Int
    ) async throws(MappingPatternError) -> Bool {
        let now = self.now()
        let fresh = Kept(pattern: pattern, account: account, expiresAt: now.advanced(bySeconds: Int64(seconds)))
        let cost = Self.overhead + pattern.size + key.utf8.count + account.utf8.count
        let isNew: Bool? = self.kept.withLock { kept in
            let known = Self.unexpired(key, in: &kept, now)
            if let known, known.account != account { return nil }
            kept.set(fresh, for: key, cost: cost)
            return known == nil
        }
        guard let isNew else { throw .otherAccount }
        return isNew
    }

    /// Removes the account's mapping pattern.
    /// - Returns: whether the account had one under the key.
    public func remove(_ key: String, account: String) async throws(MappingPatternError) -> Bool {
        let now = self.now()
        return self.kept.withLock { kept in
            guard let known = Self.unexpired(key, in: &kept, now), known.account == account else { return false }
            kept.removeValue(for: key)
            return true
        }
    }

    /// The entry under the key; `nil` if there is none. An expired entry is removed.
    private static func unexpired(_ key: String, in kept: inout ClockCache<String, Kept>, _ now: Timestamp) -> Kept? {
        guard let known = kept.value(for: key) else { return nil }
        if known.expiresAt > now { return known }
        kept.removeValue(for: key)
        return nil
    }
}
