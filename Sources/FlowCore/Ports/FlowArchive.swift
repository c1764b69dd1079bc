/// Export of a store's flows, of all accounts, and their restoration into another store.
public protocol FlowArchive: Sendable {
    /// The stored flows in the order of their ids, tombstones included.
    /// - Parameters:
    ///   - after: the last id of the previous call; `nil` for the first one.
    ///   - limit: the maximum number of flows.
    func exportFlows(after: String?, limit: Int) async throws(StoreError) -> [ArchivedFlow]
    /// Inserts a flow with its history, versions and times, in one transaction. An existing flow is never changed.
    /// - Parameter events: in version order without gaps, the last one at the flow's version; may be empty.
    func restore(_ flow: ArchivedFlow, events: [FlowEvent]) async throws(StoreError) -> RestoreOutcome

    /// The stored replies to idempotency keys in the order of accounts and keys.
    /// - Parameters:
    ///   - after: the last one of the previous call; `nil` for the first one.
    ///   - limit: the maximum number of replies.
    func exportReplies(after: ArchivedReply?, limit: Int) async throws(StoreError) -> [ArchivedReply]
    /// Inserts a reply. An existing one under the same key is never changed.
    /// - Returns: whether it was inserted.
    func restore(_ reply: ArchivedReply) async throws(StoreError) -> Bool

    /// Advances the ``FencingSequence`` beyond a token that the exported store has issued, unless it is beyond it already. The
    /// holder of a lock of the exported store could otherwise have a higher token than later holders.
    func advanceFencing(beyond token: Int64) async throws(StoreError)
}

/// A stored reply to the idempotency key of a change.
public struct ArchivedReply: Hashable, Sendable {
    public var account: String
    public var key: String
    /// Identifies the request that was answered.
    public var fingerprint: String
    /// HTTP status of the reply.
    public var status: Int64
    public var flow: String
    /// The versions of the change's events, separated by commas.
    public var versions: String
    public var createdAt: Timestamp

    public init(
        account: String, key: String, fingerprint: String, status: Int64, flow: String, versions: String, createdAt: Timestamp
    ) {
        self.account = account
        self.key = key
        self.fingerprint = fingerprint
        self.status = status
        self.flow = flow
        self.versions = versions
        self.createdAt = createdAt
    }
}

/// A stored flow with its time of creation.
public struct ArchivedFlow: Hashable, Sendable {
    public var record: FlowRecord
    public var createdAt: Timestamp

    public init(record: FlowRecord, createdAt: Timestamp) {
        self.record = record
        self.createdAt = createdAt
    }
}

/// The result of restoring one flow.
public enum RestoreOutcome: Hashable, Sendable {
    /// The flow was inserted.
    case restored
    /// The flow exists already with the same account, version and state.
    case alreadyPresent
    /// A flow with this id and another account, version or state exists, at this version; or a tombstone of this id, or of
    /// another id of its group, has ended at this version, which is not below that of the flow. Nothing is changed, because a
    /// version must not identify two events.
    case conflictingVersion(Version)
}

extension ArchivedFlow {
    /// Reads the flow's events up to its version. Events that were committed after the flow was read are left out.
    /// - Parameter page: reads a history page after a version. Pruning may delete events between two calls.
    /// - Returns: the events in version order without gaps, the last one at the flow's version; empty if that event was
    ///   pruned.
    public func history<Failure>(
        page: (Version) async throws(Failure) -> EventPage
    ) async throws(Failure) -> [FlowEvent] {
        let end = self.record.version
        var events: [FlowEvent] = []
        var after: Version = 0
        while after < end {
            let next = try await page(after).events
            // Pruning has deleted events between the previous page and this one. The result must have no gaps, so it starts
            // with this page.
            if let first = next.first, first.version > after + 1 { events = [] }
            events += next.filter { $0.version <= end }
            guard let last = next.last else { break }
            after = last.version
        }
        return events.last?.version == end ? events : []
    }

    /// The highest fencing token that the flow has seen; 0 if none. A store that restores the flow must issue higher tokens.
    package var highestFence: Int64 { self.record.fence.members.compactMap(\.value.intValue).max() ?? 0 }

    /// The outcome of restoring this flow if the store has the flow `existing` under the same id.
    package func outcome(existing: FlowRecord) -> RestoreOutcome {
        let isSame =
            existing.head.account == self.record.head.account && existing.version == self.record.version
            && existing.state == self.record.state
        return isSame ? .alreadyPresent : .conflictingVersion(existing.version)
    }
}
