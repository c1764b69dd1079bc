#if DEBUG
import FlowCore
import GRDB
import Synchronization

extension CommitWriter {
    /// Implements the injected fault `earlyAcknowledgement`: the clients that sent the changes are answered before the
    /// commit, and every fourth batch is rolled back.
    func writeEarly(_ pending: ArraySlice<PendingChange>, in database: Database) {
        do {
            let batch = try self.decide(pending, in: database)
            self.complete(pending, batch)
            if self.earlyBatches.add(1, ordering: .relaxed).newValue % 4 == 0 {
                try? database.rollback()
                self.invalidateCache()
                return
            }
            do {
                try database.commit()
                self.publish(batch)
            } catch {
                try? database.rollback()
                self.invalidateCache()
            }
        } catch {
            self.invalidateCache()
            self.complete(pending, .failure(error.reason))
        }
    }
}
#endif
