/// The changes of one transaction, decided one on top of the other.
///
/// A store tells it what the transaction found (``setStored(_:of:)``, ``setStored(_:for:)``), lets it decide the changes in the order
/// of their arrival, and writes down what has come of them. It holds no connection and no clock, so that every store comes to
/// the same conclusions.
package struct ChangeBatch: Sendable {
    /// A flow as the transaction found it and as it leaves it.
    package struct Row: Sendable {
        package var stored: FlowRecord?
        package var current: FlowRecord?
        package var isDirty = false
    }

    /// Who may use an idempotency key: it is an account's own.
    package struct ReplyKey: Hashable, Comparable, Sendable {
        package var account: String
        package var key: String

        package init(account: String, key: String) {
            self.account = account
            self.key = key
        }

        package static func < (left: ReplyKey, right: ReplyKey) -> Bool {
            (left.account, left.key) < (right.account, right.key)
        }
    }

    package struct ReplyRow: Sendable {
        package var key: ReplyKey
        package var reply: StoredReply
        package var at: Timestamp
    }

    package struct EventRow: Sendable {
        package var flow: FlowID
        package var event: FlowEvent
    }

    package let epoch: Epoch
    private let limits: ChangeLimits
    private var replies: [ReplyKey: StoredReply?] = [:]
    package private(set) var rows: [FlowID: Row] = [:]
    package private(set) var newEvents: [EventRow] = []
    package private(set) var newReplies: [ReplyRow] = []
    package private(set) var commits: [Commit] = []
    /// One for each decided change, in order.
    package private(set) var outcomes: [FlowOutcome] = []

    package init(epoch: Epoch, limits: ChangeLimits) {
        self.epoch = epoch
        self.limits = limits
    }

    // MARK: What the transaction found

    package func hasLoaded(_ flow: FlowID) -> Bool { self.rows[flow] != nil }
    package func hasLoaded(_ key: ReplyKey) -> Bool { self.replies[key] != nil }

    package mutating func setStored(_ record: FlowRecord?, of flow: FlowID) {
        self.rows[flow] = Row(stored: record, current: record)
    }

    package mutating func setStored(_ reply: StoredReply?, for key: ReplyKey) { self.replies[key] = .some(reply) }

    package mutating func setStored(_ row: (key: ReplyKey, reply: StoredReply)) { self.replies[row.key] = row.reply }

    // MARK: Decisions

    /// Decides one change on top of those before it. Its flow and its key must be known.
    package mutating func decide(_ change: FlowChange) {
        let key = change.replyKey
        if let key, let idempotency = change.idempotency, let reply = self.replies[key] ?? nil {
            let isSame = reply.fingerprint == idempotency.fingerprint
            self.outcomes.append(isSame ? .replayed(reply) : .rejected(.idempotencyConflict))
            return
        }
        var row = self.rows[change.flow] ?? Row()
        switch FlowTransition.decide(change, current: row.current, epoch: self.epoch, limits: self.limits) {
        case .write(let record, let events, let created):
            for event in events { self.newEvents.append(EventRow(flow: change.flow, event: event)) }
            row.current = record
            row.isDirty = true
            self.rows[change.flow] = row
            self.commits.append(Commit(record: record, events: events, epoch: self.epoch))
            self.outcomes.append(.applied(record, events: events, created: created))
            let versions = events.isEmpty ? [record.version] : events.map(\.version)
            self.storeReply(to: change, key, status: Self.status(of: change, created: created), versions: versions)
        case .unchanged(let record):
            self.outcomes.append(.unchanged(record))
            self.storeReply(to: change, key, status: 200, versions: [record.version])
        case .rejected(let rejection):
            self.outcomes.append(.rejected(rejection))
        }
    }

    package var hasDirtyRows: Bool { self.rows.values.contains { $0.isDirty } }

    /// The flows that must be written, in the order in which every transaction locks them. Sorts them.
    package var dirtyRows: [(flow: FlowID, row: Row)] {
        self.rows.lazy.filter { $0.value.isDirty }.map { (flow: $0.key, row: $0.value) }
            .sorted { $0.flow.rawValue < $1.flow.rawValue }
    }

    private mutating func storeReply(to change: FlowChange, _ key: ReplyKey?, status: Int, versions: [Version]) {
        guard let key, let idempotency = change.idempotency else { return }
        let reply = StoredReply(fingerprint: idempotency.fingerprint, status: status, flow: change.flow, versions: versions)
        self.replies[key] = reply
        self.newReplies.append(ReplyRow(key: key, reply: reply, at: change.at))
    }

    private static func status(of change: FlowChange, created: Bool) -> Int {
        if case .publish = change.body { return 201 }
        return created ? 201 : 200
    }

    #if DEBUG
    /// For the planted fault that takes a flow away with its deletion.
    package mutating func discard(_ flow: FlowID) {
        self.rows[flow] = Row()
        self.newEvents.removeAll { $0.flow == flow }
    }
    #endif
}

extension FlowChange {
    package var replyKey: ChangeBatch.ReplyKey? {
        self.idempotency.map { ChangeBatch.ReplyKey(account: self.account, key: $0.key) }
    }

    /// Bytes of the bodies, for the bounds.
    package var bodyBytes: Int {
        switch self.body {
        case .patch(let text), .replace(let text): text.bytes.count
        case .delete: 0
        case .publish(let events): events.reduce(0) { $0 + $1.data.bytes.count }
        }
    }
}
