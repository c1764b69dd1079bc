public import FlowCore
import Synchronization

/// Cache of import samples and schema analyses in this process. The least recently used entries are evicted first
/// (CLOCK).
public final class MemoryImportCache: ImportCache {
    private struct Key: Hashable, Sendable {
        var kind: ImportCacheKind
        var id: ImportID
    }

    private struct Kept: Sendable {
        var value: JSONText
        var expiresAt: Timestamp
    }

    /// Estimated bytes of an entry in addition to its text.
    private static let overhead = 256
    /// Maximum number of cached values.
    private static let maximumEntries = 10_000

    private let kept: Mutex<ClockCache<Key, Kept>>
    private let now: @Sendable () -> Timestamp

    /// - Parameters:
    ///   - bytes: maximum size of the cache.
    ///   - now: the wall clock, for the expiry of entries.
    public init(bytes: Int, now: @escaping @Sendable () -> Timestamp) {
        self.kept = Mutex(ClockCache(maximumEntries: Self.maximumEntries, maximumCost: bytes))
        self.now = now
    }

    /// The cached value; `nil` if there is none or it has expired.
    public func value(_ kind: ImportCacheKind, of id: ImportID) async -> JSONText? {
        let now = self.now()
        return self.kept.withLock { kept in
            guard let known = kept.value(for: Key(kind: kind, id: id)) else { return nil }
            if known.expiresAt > now { return known.value }
            kept.removeValue(for: Key(kind: kind, id: id))
            return nil
        }
    }

    /// Caches a value for `seconds`, unless it is evicted before.
    public func put(_ value: JSONText, _ kind: ImportCacheKind, of id: ImportID, seconds: Int) {
        let fresh = Kept(value: value, expiresAt: self.now().advanced(bySeconds: Int64(seconds)))
        self.kept.withLock { kept in
            _ = kept.set(fresh, for: Key(kind: kind, id: id), cost: Self.overhead + value.bytes.count)
        }
    }

    /// Removes all values of an import.
    public func remove(_ id: ImportID) {
        self.kept.withLock { kept in
            for kind in ImportCacheKind.allCases { _ = kept.removeValue(for: Key(kind: kind, id: id)) }
        }
    }
}
