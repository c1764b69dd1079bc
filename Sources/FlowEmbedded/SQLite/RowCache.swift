import FlowCore

/// The flows that the writer read or wrote last, so that a change of a busy flow needs no read.
///
/// Nothing but this store's writer changes flows. Should another process do it all the same (a restore, a second hub on
/// the same file), SQLite's `data_version` differs at the next transaction and the cache is emptied before it is used.
struct RowCache: Sendable {
    /// What is known of a flow: its row, or that it has none.
    struct Known: Sendable {
        var record: FlowRecord?
    }

    /// Bytes of an entry beside its state, estimated.
    private static let overhead = 384

    private var map: ClockMap<FlowID, Known>
    /// `PRAGMA data_version` of the writer's connection when the rows were read.
    private var dataVersion: Int64?

    init(maximumEntries: Int, maximumBytes: Int) {
        self.map = ClockMap(maximumEntries: maximumEntries, maximumCost: maximumBytes)
    }

    /// - Parameter dataVersion: as read inside the transaction that is about to use the cache.
    mutating func begin(dataVersion: Int64?) {
        guard dataVersion == nil || dataVersion != self.dataVersion else { return }
        self.map.removeAll()
        self.dataVersion = dataVersion
    }

    mutating func record(of flow: FlowID) -> Known? { self.map.value(for: flow) }

    /// Takes over what a committed batch found and made.
    mutating func take(_ rows: [FlowID: FlowBatch.Row]) {
        for (flow, row) in rows {
            let cost = Self.overhead + (row.current.map { $0.state.bytes.count + $0.fence.bytes.count } ?? 0)
            self.map.set(Known(record: row.current), for: flow, cost: cost)
        }
    }

    mutating func removeAll() { self.map.removeAll() }
}
