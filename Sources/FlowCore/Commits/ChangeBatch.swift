/// The changes of one transaction, each decided on the result of the ones before it.
///
/// A store sets the rows that the transaction has read (``setStored(_:of:)``, ``setStored(_:for:)``), lets the batch decide the
/// changes in the order of their arrival, and writes the resulting rows. The batch has no connection and no clock, so that
/// all stores decide alike.
package struct ChangeBatch: Sendable {
    /// A flow as the transaction has read it, and as the batch has changed it.
    package struct Row: Sendable {
        /// As the transaction has read it; `nil` if the flow never existed.
        package var stored: FlowRecord?
        /// After the changes decided so far; `nil` if the flow does not exist and none of them creates it.
        package var current: FlowRecord?
        /// The version above which a flow starts that is created although there is no row.
        package var floor: Version = 0
        /// Whether a change of the batch has modified the flow, so that the store must write the row.
        package var isDirty = false

        /// The state to write; `nil` if the batch leaves it as it is stored.
        package var newState: JSONText? {
            guard let current, let stored else { return self.current?.state }
            // States that share their buffer, as after a publication, are found equal without reading them.
            return current.state == stored.state ? nil : current.state
        }
    }

    /// What the batch decided about one change.
    package enum Decision: Sendable {
        /// The change's outcome, which holds once the transaction is committed.
        case outcome(FlowOutcome)
        /// Nothing: the patch must be applied to this state first, outside of the transaction.
        case unprepared(base: JSONText)
    }

    /// An idempotency key with the account to which it belongs. Different accounts may use the same key.
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

    /// A stored reply to insert.
    package struct ReplyRow: Sendable {
        package var key: ReplyKey
        package var reply: StoredReply
        /// The time of the change.
        package var at: Timestamp
    }

    /// A durable event to insert.
    package struct EventRow: Sendable {
        package var flow: FlowID
        package var event: FlowEvent
    }

    /// The adopted epoch.
    package let epoch: Epoch
    private let limits: ChangeLimits
    /// The stored replies that were set or decided; a value of `nil` means that the key has none.
    private var replies: [ReplyKey: StoredReply?] = [:]
    /// The flows that were set, after the changes decided so far.
    package private(set) var rows: [FlowID: Row] = [:]
    package private(set) var newEvents: [EventRow] = []
    /// What accounts store, after the changes decided so far. An account that was not set has no limits.
    private var usage: [String: AccountUsage] = [:]
    /// The differences that the decided changes make to what accounts store.
    package private(set) var usageChanges: [String: AccountUsage] = [:]
    package private(set) var newReplies: [ReplyRow] = []
    /// The commits that the observer receives after the transaction, in order.
    package private(set) var commits: [Commit] = []
    /// The decision about each change, in order.
    package private(set) var decisions: [Decision] = []

    package init(epoch: Epoch, limits: ChangeLimits) {
        self.epoch = epoch
        self.limits = limits
    }

    // MARK: Stored rows

    /// Whether ``setStored(_:of:)`` was called for the flow, with a record or with `nil`.
    package func hasLoaded(_ flow: FlowID) -> Bool { self.rows[flow] != nil }
    /// Whether the stored reply under the key was set, or was set to `nil` because there is none.
    package func hasLoaded(_ key: ReplyKey) -> Bool { self.replies[key] != nil }

    /// Sets a flow as the transaction has read it; `nil` if it does not exist.
    /// - Parameter floor: see ``FlowTransition``; used only if `record` is `nil`.
    package mutating func setStored(_ record: FlowRecord?, of flow: FlowID, floor: Version = 0) {
        self.rows[flow] = Row(stored: record, current: record, floor: floor)
    }

    /// Whether what the account stores was set.
    package func hasLoaded(account: String) -> Bool { self.usage[account] != nil }

    /// Sets what an account stores, as the transaction has read it.
    package mutating func setStored(_ usage: AccountUsage, of account: String) { self.usage[account] = usage }

    /// Sets the stored reply that the transaction has read under a key; `nil` if there is none.
    package mutating func setStored(_ reply: StoredReply?, for key: ReplyKey) { self.replies[key] = .some(reply) }

    /// Sets a stored reply that the transaction has read.
    package mutating func setStored(_ row: (key: ReplyKey, reply: StoredReply)) { self.replies[row.key] = row.reply }

    // MARK: Decisions

    /// Decides one change on the result of those before it, and appends the decision. The stored rows of its flow and of its
    /// ``FlowChange/replyKeys`` must have been set.
    package mutating func decide(_ change: FlowChange) {
        let key = change.replyKey
        if let key, let idempotency = change.idempotency, let reply = self.replies[key] ?? nil {
            let isSame = reply.fingerprint == idempotency.fingerprint
            self.decisions.append(.outcome(isSame ? .replayed(reply) : .rejected(.idempotencyConflict)))
            return
        }
        if let former = change.formerReplyKey, let reply = self.replies[former] ?? nil,
            reply.fingerprint == change.idempotency?.fingerprint
        {
            self.decisions.append(.outcome(.replayed(reply)))
            return
        }
        var row = self.rows[change.flow] ?? Row()
        switch FlowTransition.decide(
            change, current: row.current, floor: row.floor, epoch: self.epoch, limits: self.limits)
        {
        case .write(let record, let events, let created):
            let growth = AccountUsage(from: row.current, to: record, events: events)
            if let full = self.limitReached(by: growth, change) {
                self.decisions.append(.outcome(.rejected(.accountLimit(full, limit: self.limits.account[full]))))
                return
            }
            self.usage[change.account] = self.usage[change.account].map { $0 + growth }
            self.usageChanges[change.account] = (self.usageChanges[change.account] ?? AccountUsage()) + growth
            for event in events { self.newEvents.append(EventRow(flow: change.flow, event: event)) }
            row.current = record
            row.isDirty = true
            self.rows[change.flow] = row
            self.commits.append(Commit(record: record, events: events, epoch: self.epoch))
            self.decisions.append(.outcome(.applied(record, events: events, created: created)))
            let versions = events.isEmpty ? [record.version] : events.map(\.version)
            self.storeReply(to: change, key, status: Self.status(of: change, created: created), versions: versions)
        case .unchanged(let record):
            self.decisions.append(.outcome(.unchanged(record)))
            self.storeReply(to: change, key, status: 200, versions: [record.version])
        case .rejected(let rejection):
            self.decisions.append(.outcome(.rejected(rejection)))
        case .unprepared(let base):
            self.decisions.append(.unprepared(base: base))
        }
    }

    /// The resource of which the account would store more than its limit after a change. A deletion is never rejected, because it
    /// frees more than it adds.
    private func limitReached(by growth: AccountUsage, _ change: FlowChange) -> AccountResource? {
        if case .delete = change.body { return nil }
        return self.usage[change.account]?.exceeded(by: growth, self.limits.account)
    }

    /// Whether the store must write the row of at least one flow.
    package var hasDirtyRows: Bool { self.rows.values.contains { $0.isDirty } }

    /// The bytes of the events and states that the store must write.
    package var writtenBytes: Int {
        self.newEvents.reduce(0) { $0 + $1.event.payload.bytes.count }
            + self.rows.values.reduce(0) { $0 + ($1.isDirty ? $1.current?.state.bytes.count ?? 0 : 0) }
    }

    /// The flows to write, sorted by id. Every transaction locks rows in this order, which avoids deadlocks. Sorts on each
    /// call.
    package var dirtyRows: [(flow: FlowID, row: Row)] {
        self.rows.lazy.filter { $0.value.isDirty }.map { (flow: $0.key, row: $0.value) }
            .sorted { $0.flow.rawValue < $1.flow.rawValue }
    }

    /// Keeps the reply to a change that was not rejected, if the change has an idempotency key: to insert it, and for
    /// later changes of the batch with the same key.
    /// - Parameters:
    ///   - status: the HTTP status of the reply.
    ///   - versions: see ``StoredReply/versions``.
    private mutating func storeReply(to change: FlowChange, _ key: ReplyKey?, status: Int, versions: [Version]) {
        guard let key, let idempotency = change.idempotency else { return }
        let reply = StoredReply(fingerprint: idempotency.fingerprint, status: status, flow: change.flow, versions: versions)
        self.replies[key] = reply
        self.newReplies.append(ReplyRow(key: key, reply: reply, at: change.at))
    }

    /// The HTTP status of the reply to an applied change: 201 if it published events or created the flow, else 200.
    private static func status(of change: FlowChange, created: Bool) -> Int {
        if case .publish = change.body { return 201 }
        return created ? 201 : 200
    }
}

extension FlowChange {
    /// The request's idempotency key, within the change's account; `nil` if the request has none.
    package var replyKey: ChangeBatch.ReplyKey? {
        self.idempotency.map { ChangeBatch.ReplyKey(account: self.account, key: $0.key) }
    }

    /// See ``FlowChange/Idempotency/formerKey``.
    package var formerReplyKey: ChangeBatch.ReplyKey? {
        (self.idempotency?.formerKey).map { ChangeBatch.ReplyKey(account: self.account, key: $0) }
    }

    /// The keys whose stored replies must be set before the change is decided.
    package var replyKeys: [ChangeBatch.ReplyKey] { [self.replyKey, self.formerReplyKey].compactMap(\.self) }

    /// The size of the change's JSON texts in bytes, for the limits of queues and batches.
    package var bodyBytes: Int {
        switch self.body {
        case .patch(let text), .replace(let text): text.bytes.count
        case .delete: 0
        case .publish(let events): events.reduce(0) { $0 + $1.data.bytes.count }
        }
    }

    /// The bytes that committing the change reads and writes, as far as they are known: its JSON texts, and the state that a
    /// patch results in.
    /// - Parameter stateBytes: size of the flow's state; 0 if it is not known.
    package func commitBytes(stateBytes: @autoclosure () -> Int) -> Int {
        guard case .patch = self.body else { return self.bodyBytes }
        if case .ahead(let result?) = self.preparation { return self.bodyBytes + result.state.bytes.count }
        return self.bodyBytes + min(stateBytes(), Self.smallPatchBytes)
    }
}
