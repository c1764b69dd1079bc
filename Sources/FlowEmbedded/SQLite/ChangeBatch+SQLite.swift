import FlowCore
import GRDB

/// The writer row cache of the SQLite store. It stays correct because only this process's writer changes flows. If
/// another process changes the database nevertheless (a restore, a second hub on the same file), SQLite's
/// `data_version` differs in the next transaction and the cache is cleared.
struct SQLiteWriterCache: Sendable {
    var rowCache: WriterRowCache
    /// `PRAGMA data_version` of the writer's connection when the cached rows were read.
    private var dataVersion: Int64?

    /// Creates the cache; the first transaction clears it.
    init(rowCache: WriterRowCache) { self.rowCache = rowCache }

    /// Clears the cache if another connection has changed the database.
    /// - Parameter dataVersion: the value read in the transaction that is about to use the cached rows.
    mutating func invalidateIfChanged(dataVersion: Int64?) {
        guard dataVersion == nil || dataVersion != self.dataVersion else { return }
        self.rowCache.removeAll()
        self.dataVersion = dataVersion
    }
}

extension ChangeBatch {
    /// Decides what the change does, and adds the outcome to the batch. Before that, reads the flow, what its account stores,
    /// and the stored reply of the idempotency key from the database, unless the batch (or, for the flow, the cache) has
    /// them.
    mutating func perform(_ change: FlowChange, in database: Database, cache: inout SQLiteWriterCache) throws {
        for key in change.replyKeys where !self.hasLoaded(key) {
            self.setStored(try database.reply(to: key.key, account: key.account), for: key)
        }
        if !self.hasLoaded(change.flow) {
            let record = try cache.rowCache.record(of: change.flow) ?? database.flow(change.flow)
            let floor = record == nil ? try database.floorOfNewFlows() : 0
            self.setStored(record, of: change.flow, floor: floor)
        }
        if !self.hasLoaded(account: change.account) {
            self.setStored(try database.usage(of: change.account), of: change.account)
        }
        self.decide(change)
    }

    /// Writes the batch's events, flows and stored replies in the current transaction. Each flow's row is written once,
    /// even after several changes.
    func finish(_ database: Database) throws {
        for new in self.newEvents { try database.insert(new.event, of: new.flow) }
        for (_, row) in self.dirtyRows {
            guard let current = row.current else { continue }
            if let stored = row.stored {
                try database.update(current, from: stored, state: row.newState)
            } else {
                try database.insert(current)
            }
        }
        for (account, growth) in self.usageChanges { try database.add(growth, to: account) }
        for new in self.newReplies { try database.insert(new.reply, to: new.key.key, account: new.key.account, at: new.at) }
    }
}
