public import FlowCore
import GRDB

extension SQLiteFlowStore {
    /// Advance of the fencing sequence when the epoch is raised: more than the tokens that the lost history may have
    /// issued after the restored copy.
    private static let fencingJump: Int64 = 1_000_000

    public var epoch: Epoch { self.adoptedEpoch.value }

    public func refreshEpoch() async throws(StoreError) -> Epoch {
        // On the writer's queue, so that the result is not older than a raise in the meantime.
        try await self.write { database in
            var stored = try database.storedEpoch()
            if stored < self.adoptedEpoch.value {
                // A restored copy has an older epoch. Changes to it need an epoch above all that this process has
                // adopted.
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
        // Adopted after the commit. A change in between finds that the stored epoch differs from the adopted one, and
        // is retried.
        self.adoptedEpoch.set(epoch)
        return epoch
    }
}

extension SQLiteFlowStore: FencingSequence {
    private static let advanceFencing = "UPDATE hub_meta SET fencing = fencing + 1"

    /// Consumes one fencing token, because SQLite writes no page if an update leaves the row unchanged.
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
