/// The flows that a writer read or wrote last, so that a change of a busy flow needs no read.
///
/// A value, confined to its writer. What it holds is a base to decide from and no more: the writer's transaction proves that
/// the base still stands.
package struct WriterRowCache: Sendable {
    /// What is known of a flow: its row, or that it has none.
    package struct Entry: Sendable {
        package var record: FlowRecord?
    }

    /// Bytes of an entry beside its state, estimated.
    private static let overhead = 384

    private var map: ClockCache<FlowID, Entry>

    package init(maximumEntries: Int, maximumBytes: Int) {
        self.map = ClockCache(maximumEntries: maximumEntries, maximumCost: maximumBytes)
    }

    package mutating func record(of flow: FlowID) -> Entry? { self.map.value(for: flow) }

    /// Takes over what a committed batch found and made.
    package mutating func update(from rows: [FlowID: ChangeBatch.Row]) {
        for (flow, row) in rows { self.set(row.current, of: flow) }
    }

    package mutating func set(_ record: FlowRecord?, of flow: FlowID) {
        let cost = Self.overhead + (record.map { $0.state.bytes.count + $0.fence.bytes.count } ?? 0)
        self.map.set(Entry(record: record), for: flow, cost: cost)
    }

    package mutating func remove(_ flow: FlowID) { self.map.removeValue(for: flow) }
    package mutating func removeAll() { self.map.removeAll() }
}
