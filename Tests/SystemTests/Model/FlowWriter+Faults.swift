import FlowTestKit

/// A defect of a hub's store, simulated by the writer. The oracle must detect each.
enum StoreFault: CaseIterable, Sendable {
    /// Deleting a flow leaves no tombstone, so that its versions are assigned again.
    case tombstoneOff
    /// A client is answered before its change is committed, and the commit fails.
    case earlyAcknowledgement
}

extension FlowWriter {
    /// For ``StoreFault/earlyAcknowledgement``, every fourth change counts as acknowledged and is not sent.
    mutating func losesChange(_ entries: [FlowJournal.Entry]) -> Bool {
        guard self.schedule.storeFault == .earlyAcknowledgement, !entries.isEmpty else { return false }
        self.changes += 1
        guard self.changes.isMultiple(of: 4) else { return false }
        self.faultOccasions += 1
        for entry in entries { self.journal.append(entry) }
        return true
    }

    /// For ``StoreFault/tombstoneOff``, removes the flow and its events from the hub's database, once.
    mutating func loseTombstone() async throws {
        guard self.schedule.storeFault == .tombstoneOff, self.faultOccasions == 0 else { return }
        self.faultOccasions += 1
        _ = try await TestTools.python(
            """
            import sqlite3, sys
            with sqlite3.connect(sys.argv[1], timeout=20) as database:
                database.execute("DELETE FROM flow_events WHERE flow_id = ?", [sys.argv[2]])
                database.execute("DELETE FROM flows WHERE id = ?", [sys.argv[2]])
            """, [self.hub.dataFolder + "/flowhub.sqlite", self.flow])
    }
}
