public import FlowCore
import Synchronization

/// Cache of stored flows in memory, in 16 shards with a mutex each, bounded by entries and bytes.
///
/// A flow's version never goes back, not even after an eviction: each shard remembers the versions of the last
/// evicted flows, at least as many as its maximum of entries. So a load that was in flight during the eviction cannot
/// insert an older state.
public final class MemoryStateCache: StateCache {
    public struct Limits: Hashable, Sendable {
        /// Maximum number of flows.
        public var entries = 20_000
        /// Maximum bytes of all entries, including an estimate of the overhead.
        public var bytes = 134_217_728

        public init() {}
    }

    private struct Shard: Sendable {
        var epoch: Epoch?
        var records: ClockCache<FlowID, FlowRecord>
        /// Versions of evicted flows: the newer half and the older half.
        var floors: [FlowID: Version] = [:]
        var olderFloors: [FlowID: Version] = [:]

        mutating func remember(_ flow: FlowID, _ version: Version) {
            if self.floors.count >= self.records.maximumEntries {
                self.olderFloors = self.floors
                self.floors = [:]
            }
            self.floors[flow] = version
        }

        func floor(of flow: FlowID) -> Version { self.floors[flow] ?? self.olderFloors[flow] ?? 0 }
    }

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

    public func record(of flow: FlowID, atLeast version: Version) -> FlowRecord? {
        self.cell(of: flow).shard.withLock { shard in
            guard let record = shard.records.value(for: flow), record.version >= version else { return nil }
            return record
        }
    }

    public func put(_ record: FlowRecord, epoch: Epoch) {
        let flow = record.head.flow
        self.cell(of: flow).shard.withLock { shard in
            guard shard.epoch == epoch else { return }
            let known = shard.records.value(for: flow)?.version ?? shard.floor(of: flow)
            if record.version < known, !Self.mayGoBack { return }
            let cost = Self.entryOverhead + record.state.bytes.count + record.fence.bytes.count + flow.rawValue.utf8.count
            for (flow, evicted) in shard.records.set(record, for: flow, cost: cost) { shard.remember(flow, evicted.version) }
        }
    }

    public func remove(_ flow: FlowID, below version: Version) {
        self.cell(of: flow).shard.withLock { shard in
            guard let known = shard.records.value(for: flow), known.version < version else { return }
            shard.records.removeValue(for: flow)
            shard.remember(flow, version)
        }
    }

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

    public func versions() -> [FlowID: Version] {
        var versions: [FlowID: Version] = [:]
        for cell in self.cells {
            cell.shard.withLock { shard in shard.records.forEach { versions[$0] = $1.version } }
        }
        return versions
    }

    private func cell(of flow: FlowID) -> Cell {
        self.cells[Int(truncatingIfNeeded: UInt(bitPattern: flow.hashValue) & UInt(Self.shardCount - 1))]
    }

    private static var mayGoBack: Bool {
        #if DEBUG
        InjectedFault.cacheGoesBack.isActive
        #else
        false
        #endif
    }
}
