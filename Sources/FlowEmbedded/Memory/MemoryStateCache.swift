public import FlowCore
import Synchronization

/// Flows in memory, in shards with a lock each, within a bound of entries and bytes.
///
/// A version never goes back, not even across an eviction: a shard remembers the versions that it let go of for as long
/// as it takes to let go of that many again, so that a load that was under way meanwhile does not bring an older state in.
public final class MemoryStateCache: StateCache {
    public struct Limits: Hashable, Sendable {
        /// Flows kept at most.
        public var entries = 20_000
        /// Bytes of their states, with what the hub needs beside them, at most.
        public var bytes = 134_217_728

        public init() {}
    }

    private struct Shard: Sendable {
        var epoch: Epoch?
        var records: ClockCache<FlowID, FlowRecord>
        /// Versions of flows that were let go, the younger half and the older one.
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

    /// A power of two, so that choosing one is a mask.
    private static let shardCount = 16
    /// Bytes of an entry beside its state, estimated: keys, the record's strings, the tables' slots.
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
