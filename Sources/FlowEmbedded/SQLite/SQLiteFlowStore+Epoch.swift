public import FlowCore
import GRDB

extension SQLiteFlowStore {
    /// How far the fencing sequence jumps with a raised epoch: beyond whatever was handed out in the history that is lost.
    private static let fencingJump: Int64 = 1_000_000

    public var epoch: Epoch { self.adoptedEpoch.value }

    public func refreshEpoch() async throws(StoreError) -> Epoch {
        // In the writer's queue, so that it is not an older answer than a raise that came meanwhile.
        try await self.write { database in
            var stored = try database.storedEpoch()
            if stored < self.adoptedEpoch.value {
                // An older copy bears an older name: what is written on it needs one above all that were worked under.
                stored = self.adoptedEpoch.value.raised(atUnixSeconds: 0, random: RandomText.base36(6))
                try database.run("UPDATE hub_meta SET epoch = ?", [stored.description.databaseValue])
            }
            self.adoptedEpoch.set(stored)
            return stored
        }
    }

    public func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch {
        let epoch = try await self.write { database in
            let stored = try database.storedEpoch()
            guard stored == from else { return stored }
            let raised = stored.raised(atUnixSeconds: now.seconds, random: RandomText.base36(6))
            try database.run(
                "UPDATE hub_meta SET epoch = ?, fencing = fencing + ?",
                [raised.description.databaseValue, Self.fencingJump.databaseValue])
            return raised
        }
        // After the commit. A change that came in between found another epoch than the known one, and is tried again.
        self.adoptedEpoch.set(epoch)
        return epoch
    }
}

extension SQLiteFlowStore: FencingSequence {
    private static let advanceFencing = "UPDATE hub_meta SET fencing = fencing + 1"

    /// Passes over a fencing number: SQLite writes no page for an update that leaves the row as it is.
    public func probeWrite() async throws(StoreError) {
        try await self.write { try $0.run(Self.advanceFencing, []) }
    }

    public func nextFencingToken() async throws(StoreError) -> Int64 {
        try await self.write { database in
            try database.run(Self.advanceFencing, [])
            guard let token = try database.first("SELECT fencing FROM hub_meta", [], { $0[0] as Int64 }) else {
                throw UnreadableRow()
            }
            return token
        }
    }
}
