import FlowCore
import GRDB

/// What the writer knows without reading. Nothing but this store's writer changes flows; should another process do it all the
/// same (a restore, a second hub on the same file), SQLite's `data_version` differs at the next transaction.
struct SQLiteWriterCache: Sendable {
    var rowCache: WriterRowCache
    /// `PRAGMA data_version` of the writer's connection when the rows were read.
    private var dataVersion: Int64?

    init(rowCache: WriterRowCache) { self.rowCache = rowCache }

    /// - Parameter dataVersion: as read inside the transaction that is about to use the rows.
    mutating func invalidateIfChanged(dataVersion: Int64?) {
        guard dataVersion == nil || dataVersion != self.dataVersion else { return }
        self.rowCache.removeAll()
        self.dataVersion = dataVersion
    }
}

extension ChangeBatch {
    /// Reads what the change needs to know and decides it.
    mutating func perform(_ change: FlowChange, in database: Database, cache: inout SQLiteWriterCache) throws {
        if let key = change.replyKey, !self.hasLoaded(key) {
            self.setStored(try database.reply(to: key.key, account: key.account), for: key)
        }
        if !self.hasLoaded(change.flow) {
            let cached = cache.rowCache.record(of: change.flow)
            self.setStored(try cached.map(\.record) ?? database.flow(change.flow), of: change.flow)
        }
        self.decide(change)
        #if DEBUG
        if case .delete = change.body, InjectedFault.tombstoneOff.isActive {
            try database.deleteWithoutTombstone(change.flow)
            self.discard(change.flow)
        }
        #endif
    }

    /// Writes it all: each flow once, however many changes of the batch it had.
    func finish(_ database: Database) throws {
        for new in self.newEvents { try database.insert(new.event, of: new.flow) }
        for (_, row) in self.dirtyRows {
            guard let current = row.current else { continue }
            if let stored = row.stored {
                try database.update(current, from: stored)
            } else {
                try database.insert(current)
            }
        }
        for new in self.newReplies { try database.insert(new.reply, to: new.key.key, account: new.key.account, at: new.at) }
    }
}
