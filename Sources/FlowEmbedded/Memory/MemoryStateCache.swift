public import FlowCore
import Synchronization

/// Cache of stored flows in memory, in 16 shards with a mutex each, bounded by entries and bytes.
///
/// A flow's cached version never goes back, not even after an eviction: each shard remembers the versions of the flows
/// that it has evicted last, as many as its maximum number of entries or more. So a read of the store that was in
/// flight during the eviction cannot insert an older state.
public final class MemoryStateCache: StateCache {
    public struct Limits: Hashable, Sendable {
        /// Maximum number of flows.
        public var entries = 20_000
        /// Maximum bytes of all entries, including an estimate of the overhead.
        public var bytes = 134_217_728

        public init() {}
    }

    /// One of 16 parts of the cache; a flow's hash selects its shard.
    private struct Shard: Sendable {
        struct Entry: Sendable {
            var record: FlowRecord
            /// See ``CachedFlow/currentAt``.
            var currentAt: ContinuousClock.Instant?

            mutating func confirm(at instant: ContinuousClock.Instant) {
                self.currentAt = self.currentAt.map { max($0, instant) } ?? instant
            }
        }

        var epoch: Epoch?
        var entries: ClockCache<FlowID, Entry>
        /// Versions of the flows evicted last, below which no state is cached: the newer half here and the older
        /// half in `olderFloors`.
        var floors: [FlowID: Version] = [:]
        var olderFloors: [FlowID: Version] = [:]

        /// Remembers the version of an evicted flow. When the newer half is full, it replaces the older half.
        mutating func remember(_ flow: FlowID, _ version: Version) {
            if self.floors.count >= self.entries.maximumEntries {
                self.olderFloors = self.floors
                self.floors = [:]
            }
            self.floors[flow] = version
        }

        /// Adopts an epoch above the current one. What is known of the flows belongs to the epoch before and is dropped.
        mutating func advance(to epoch: Epoch) {
            if let current = self.epoch, epoch <= current { return }
            self.epoch = epoch
            self.entries.removeAll()
            self.floors = [:]
            self.olderFloors = [:]
        }

        /// The remembered version of an evicted flow; 0 if there is none.
        func floor(of flow: FlowID) -> Version { self.floors[flow] ?? self.olderFloors[flow] ?? 0 }
    }

    /// A shard behind its mutex. A class, because a mutex cannot be an element of an array.
    private final class Cell: Sendable {
        let shard: Mutex<Shard>

        init(_ shard: Shard) { self.shard = Mutex(shard) }
    }

    private static let shardCount = 16
    /// Estimated bytes of an entry in addition to its state: keys, strings, and hash table slots.
    private static let entryOverhead = 384

    private let cells: [Cell]

    public init(limits: Limits = .init()) {
        let entries = max(1, limits.entries / Self.shardCount)
        let bytes = limits.bytes / Self.shardCount
        self.cells = (0..<Self.shardCount).map { _ in
            Cell(Shard(entries: ClockCache(maximumEntries: entries, maximumCost: bytes)))
        }
    }

    /// The cached flow; `nil` if it is not cached or its version is below the given one.
    public func flow(_ flow: FlowID, atLeast version: Version) -> CachedFlow? {
        self.cell(of: flow).shard.withLock { shard in
            guard let epoch = shard.epoch, let entry = shard.entries.value(for: flow), entry.record.version >= version else {
                return nil
            }
            return CachedFlow(record: entry.record, epoch: epoch, currentAt: entry.currentAt)
        }
    }

    /// Caches a stored flow. Has no effect if a higher version of the flow is cached or remembered, if `epoch` is below that of the
    /// cache, or if the cache has no epoch yet.
    /// - Returns: `false` if it had no effect.
    @discardableResult
    public func put(_ record: FlowRecord, epoch: Epoch, readAt: ContinuousClock.Instant?) -> Bool {
        let flow = record.head.flow
        return self.cell(of: flow).shard.withLock { shard in
            guard shard.epoch != nil else { return false }
            shard.advance(to: epoch)
            guard shard.epoch == epoch else { return false }
            let cached = shard.entries.modify(flow) { $0 }
            let known = cached?.record.version ?? shard.floor(of: flow)
            if record.version < known { return false }
            // A change of this process follows what the cached flow had.
            var entry = Shard.Entry(record: record, currentAt: cached?.currentAt)
            if let readAt { entry.confirm(at: readAt) }
            let cost = Self.entryOverhead + record.state.bytes.count + record.fence.bytes.count + flow.rawValue.utf8.count
            for (flow, evicted) in shard.entries.set(entry, for: flow, cost: cost) {
                shard.remember(flow, evicted.record.version)
            }
            return true
        }
    }

    /// Drops the flow if it is cached below the store's version, and remembers that version as for an evicted flow, so that no
    /// lower one is cached. Otherwise the flow is current as of the instant. The flow does not count as used.
    public func compare(_ flow: FlowID, with version: Version, epoch: Epoch, at instant: ContinuousClock.Instant) {
        self.cell(of: flow).shard.withLock { shard in
            guard shard.epoch == epoch else { return }
            let isOutdated = shard.entries.modify(flow) { entry in
                if entry.record.version >= version { entry.confirm(at: instant) }
                return entry.record.version < version
            }
            guard isOutdated == true else { return }
            shard.entries.removeValue(for: flow)
            shard.remember(flow, version)
        }
    }

    /// Drops the flows of earlier epochs, and caches no flow of one from now on.
    public func advance(to epoch: Epoch) {
        for cell in self.cells { cell.shard.withLock { $0.advance(to: epoch) } }
    }

    /// The cached flows with their versions.
    public func versions() -> [FlowID: Version] {
        var versions: [FlowID: Version] = [:]
        for cell in self.cells {
            cell.shard.withLock { shard in shard.entries.forEach { versions[$0] = $1.record.version } }
        }
        return versions
    }

    /// The shard of the flow, selected by its hash.
    private func cell(of flow: FlowID) -> Cell {
        self.cells[flow.lane(of: Self.shardCount)]
    }
}
