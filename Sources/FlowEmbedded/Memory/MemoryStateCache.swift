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
        var epoch: Epoch?
        var records: ClockCache<FlowID, FlowRecord>
        /// Versions of the flows evicted last, below which no state is cached: the newer half here and the older
        /// half in `olderFloors`.
        var floors: [FlowID: Version] = [:]
        var olderFloors: [FlowID: Version] = [:]

        /// Remembers the version of an evicted flow. When the newer half is full, it replaces the older half.
        mutating func remember(_ flow: FlowID, _ version: Version) {
            if self.floors.count >= self.records.maximumEntries {
                self.olderFloors = self.floors
                self.floors = [:]
            }
            self.floors[flow] = version
        }

        /// The remembered version of an evicted flow; 0 if there is none.
        func floor(of flow: FlowID) -> Version { self.floors[flow] ?? self.olderFloors[flow] ?? 0 }
    }

    /// A shard behind its mutex. A class, because a mutex cannot be an element of an array.
    private final class Cell: Sendable {
        let shard: Mutex<Shard>

        init(_ shard: Shard) { self.shard = Mutex(shard) }
    }

    /// A power of two, so that a shard is chosen with a bit mask.
    private static let shardCount = 16
    /// Estimated bytes of an entry in addition to its state: keys, strings, and hash table slots.
    private static let entryOverhead = 384

    private let cells: [Cell]

    public init(limits: Limits = .init()) {
        let entries = max(1, limits.entries / Self.shardCount)
        let bytes = limits.bytes / Self.shardCount
        self.cells = (0..<Self.shardCount).map { _ in
            Cell(Shard(records: ClockCache(maximumEntries: entries, maximumCost: bytes)))
        }
    }

    /// The cached flow; `nil` if it is not cached or its version is below the given one.
    public func record(of flow: FlowID, atLeast version: Version) -> FlowRecord? {
        self.cell(of: flow).shard.withLock { shard in
            guard let record = shard.records.value(for: flow), record.version >= version else { return nil }
            return record
        }
    }

    /// Caches a stored flow. Has no effect if a higher version of the flow is cached or remembered, or if `epoch` is
    /// not the one that was last passed to ``removeAll(epoch:)``.
    public func put(_ record: FlowRecord, epoch: Epoch) {
        let flow = record.head.flow
        self.cell(of: flow).shard.withLock { shard in
            guard shard.epoch == epoch else { return }
            let known = shard.records.value(for: flow)?.version ?? shard.floor(of: flow)
            if record.version < known { return }
            let cost = Self.entryOverhead + record.state.bytes.count + record.fence.bytes.count + flow.rawValue.utf8.count
            for (flow, evicted) in shard.records.set(record, for: flow, cost: cost) { shard.remember(flow, evicted.version) }
        }
    }

    /// Drops the flow if it is cached below the version. Remembers the version as for an evicted flow, so that no lower one
    /// is cached.
    public func remove(_ flow: FlowID, below version: Version) {
        self.cell(of: flow).shard.withLock { shard in
            guard let known = shard.records.value(for: flow), known.version < version else { return }
            shard.records.removeValue(for: flow)
            shard.remember(flow, version)
        }
    }

    /// Drops all flows, and caches only flows of this epoch from now on.
    public func removeAll(epoch: Epoch) {
        for cell in self.cells {
            cell.shard.withLock { shard in
                shard.epoch = epoch
                shard.records.removeAll()
                shard.floors = [:]
                shard.olderFloors = [:]
            }
        }
    }

    /// The cached flows with their versions.
    public func versions() -> [FlowID: Version] {
        var versions: [FlowID: Version] = [:]
        for cell in self.cells {
            cell.shard.withLock { shard in shard.records.forEach { versions[$0] = $1.version } }
        }
        return versions
    }

    /// The shard of the flow, selected by its hash.
    private func cell(of flow: FlowID) -> Cell {
        self.cells[Int(truncatingIfNeeded: UInt(bitPattern: flow.hashValue) & UInt(Self.shardCount - 1))]
    }
}
