/// The flows that a writer has read or written most recently, in memory, so that a change of a busy flow needs no read.
///
/// A value type, confined to its writer. The entries serve only as bases of decisions: the writer's transaction verifies
/// that a base is still current. Answers to clients never come from here.
package struct WriterRowCache: Sendable {
    /// A cached row, or the fact that the flow has none.
    package struct Entry: Sendable {
        /// `nil` if the flow never existed.
        package var record: FlowRecord?
    }

    /// Estimated bytes of an entry in addition to its state and fences.
    private static let overhead = 384

    private var map: ClockCache<FlowID, Entry>

    package init(maximumEntries: Int, maximumBytes: Int) {
        self.map = ClockCache(maximumEntries: maximumEntries, maximumCost: maximumBytes)
    }

    /// The cached entry; `nil` if the flow must be read.
    package mutating func record(of flow: FlowID) -> Entry? { self.map.value(for: flow) }

    /// The size of a flow's cached state, in bytes; 0 if the flow is not cached.
    package mutating func stateBytes(of flow: FlowID) -> Int { self.map.value(for: flow)?.record?.state.bytes.count ?? 0 }

    /// Caches the rows that a committed batch has read or written.
    package mutating func update(from rows: [FlowID: ChangeBatch.Row]) {
        for (flow, row) in rows { self.set(row.current, of: flow) }
    }

    /// Caches a flow's row; `nil` records that the flow never existed.
    package mutating func set(_ record: FlowRecord?, of flow: FlowID) {
        let cost = Self.overhead + (record.map { $0.state.bytes.count + $0.fence.bytes.count } ?? 0)
        self.map.set(Entry(record: record), for: flow, cost: cost)
    }

    /// Drops the entry of a flow, so that its next change reads the row.
    package mutating func remove(_ flow: FlowID) { self.map.removeValue(for: flow) }
    /// Drops all entries.
    package mutating func removeAll() { self.map.removeAll() }
}
