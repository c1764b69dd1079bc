import FlowCore
import GRDB

/// The changes of one transaction, as they are decided and written. Confined to the writer.
struct FlowBatch {
    /// A flow as the transaction found it and as it leaves it.
    struct Row: Sendable {
        var stored: FlowRecord?
        var current: FlowRecord?
        var isDirty = false
    }

    let epoch: Epoch
    private let limits: ChangeLimits
    private(set) var rows: [FlowID: Row] = [:]
    private(set) var commits: [Commit] = []
    private(set) var outcomes: [FlowOutcome] = []

    init(epoch: Epoch, limits: ChangeLimits) {
        self.epoch = epoch
        self.limits = limits
    }

    /// Decides one change on top of those before it. Its events are written at once, its flow by ``finish(_:)``.
    mutating func perform(_ change: FlowChange, in database: Database, known: inout RowCache) throws {
        if let idempotency = change.idempotency,
            let reply = try database.reply(to: idempotency.key, account: change.account)
        {
            let isSame = reply.fingerprint == idempotency.fingerprint
            self.outcomes.append(isSame ? .replayed(reply) : .rejected(.idempotencyConflict))
            return
        }
        var row = try self.row(of: change.flow, in: database, known: &known)
        switch FlowTransition.decide(change, current: row.current, epoch: self.epoch, limits: self.limits) {
        case .write(let record, let events, let created):
            for event in events { try database.insert(event, of: change.flow) }
            row.current = record
            row.isDirty = true
            if Self.forgets(change) {
                try database.forget(change.flow)
                row = Row()
            }
            self.commits.append(Commit(record: record, events: events, epoch: self.epoch))
            self.outcomes.append(.applied(record, events: events, created: created))
            let versions = events.isEmpty ? [record.version] : events.map(\.version)
            try self.keepReply(to: change, status: Self.status(of: change, created: created), versions: versions, in: database)
        case .unchanged(let record):
            self.outcomes.append(.unchanged(record))
            try self.keepReply(to: change, status: 200, versions: [record.version], in: database)
        case .rejected(let rejection):
            self.outcomes.append(.rejected(rejection))
        }
        self.rows[change.flow] = row
    }

    /// Writes each flow once, however many changes of the batch it had.
    func finish(_ database: Database) throws {
        for row in self.rows.values where row.isDirty {
            guard let current = row.current else { continue }
            if let stored = row.stored {
                try database.update(current, from: stored)
            } else {
                try database.insert(current)
            }
        }
    }

    private func row(of flow: FlowID, in database: Database, known: inout RowCache) throws -> Row {
        if let row = self.rows[flow] { return row }
        let stored: FlowRecord?
        if let cached = known.record(of: flow) { stored = cached.record } else { stored = try database.flow(flow) }
        return Row(stored: stored, current: stored)
    }

    private func keepReply(to change: FlowChange, status: Int, versions: [Version], in database: Database) throws {
        guard let idempotency = change.idempotency else { return }
        let reply = StoredReply(fingerprint: idempotency.fingerprint, status: status, flow: change.flow, versions: versions)
        try database.insert(reply, to: idempotency.key, account: change.account, at: change.at)
    }

    private static func status(of change: FlowChange, created: Bool) -> Int {
        if case .publish = change.body { return 201 }
        return created ? 201 : 200
    }

    /// Whether a planted fault takes the flow away with its deletion.
    private static func forgets(_ change: FlowChange) -> Bool {
        #if DEBUG
        if case .delete = change.body { return PlantedFault.tombstoneOff.isPlanted }
        #endif
        return false
    }
}
