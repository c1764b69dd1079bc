/// The flows that a writer has read or written most recently, in memory, so that a change of a busy flow needs no read.
///
/// A value type, confined to its writer. The entries serve only as bases of decisions: the writer's transaction verifies
/// that a base is still current. Answers to clients never come from here.
package struct WriterRowCache: Sendable {
    /// Estimated bytes of an entry in addition to its state and fences.
    private static let overhead = 384

    private var map: ClockCache<FlowID, FlowRecord>

    package init(maximumEntries: Int, maximumBytes: Int) {
        self.map = ClockCache(maximumEntries: maximumEntries, maximumCost: maximumBytes)
    }

    /// The cached flow; `nil` if it must be read.
    package mutating func record(of flow: FlowID) -> FlowRecord? { self.map.value(for: flow) }

    /// The size of a flow's cached state, in bytes; 0 if the flow is not cached.
    package mutating func stateBytes(of flow: FlowID) -> Int { self.map.value(for: flow)?.state.bytes.count ?? 0 }

    /// Caches the rows that a committed batch has read or written.
    package mutating func update(from rows: [FlowID: ChangeBatch.Row]) {
        for (flow, row) in rows { self.set(row.current, of: flow) }
    }

    /// Caches a flow's row. The absence of a row and tombstones are not cached: pruning may delete a tombstone, and a flow is
    /// created above the version that the tombstone had.
    package mutating func set(_ record: FlowRecord?, of flow: FlowID) {
        guard let record, !record.head.isDeleted else { return self.remove(flow) }
        self.map.set(record, for: flow, cost: Self.overhead + record.storedBytes)
    }

    /// Drops the entry of a flow, so that its next change reads the row.
    package mutating func remove(_ flow: FlowID) { self.map.removeValue(for: flow) }
    /// Drops all entries.
    package mutating func removeAll() { self.map.removeAll() }
}
