import FlowCore
import FlowEmbedded
import FlowTestKit
import GRDB
import Synchronization

/// A store in an SQLite file with a defect that the contract must detect.
final class FaultyFlowStore: FlowStoreContract.Store {
    enum Fault {
        /// Deleting a flow leaves no tombstone, so that its versions are assigned again.
        case tombstoneOff
        /// Every fourth change is answered and never committed.
        case earlyAcknowledgement
    }

    private let inner: any FlowStoreContract.Store
    private let fault: Fault
    private let folder: String
    private let changes = Atomic<Int>(0)

    init(_ inner: any FlowStoreContract.Store, _ fault: Fault, folder: String) {
        self.inner = inner
        self.fault = fault
        self.folder = folder
    }

    func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome {
        switch self.fault {
        case .tombstoneOff:
            let outcome = try await self.inner.apply(change)
            if case .delete = change.body { try await self.removeTombstone(of: change.flow) }
            return outcome
        case .earlyAcknowledgement:
            guard self.changes.add(1, ordering: .relaxed).newValue.isMultiple(of: 4) else {
                return try await self.inner.apply(change)
            }
            var batch = ChangeBatch(epoch: self.inner.epoch, limits: ChangeLimits())
            batch.setStored(try await self.inner.load(change.flow), of: change.flow)
            batch.decide(change)
            guard case .outcome(let outcome)? = batch.decisions.first else { return try await self.inner.apply(change) }
            return outcome
        }
    }

    private func removeTombstone(of flow: FlowID) async throws(StoreError) {
        do {
            try await DatabaseQueue(path: self.folder + "/flowhub.sqlite").write { database in
                try database.execute(sql: "DELETE FROM flow_events WHERE flow_id = ?", arguments: [flow.rawValue])
                try database.execute(sql: "DELETE FROM flows WHERE id = ?", arguments: [flow.rawValue])
            }
        } catch {
            throw .unavailable("\(error)")
        }
    }

    // MARK: Unchanged

    var epoch: Epoch { self.inner.epoch }
    func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void) { self.inner.observeCommits(observer) }
    func load(_ flow: FlowID) async throws(StoreError) -> FlowRecord? { try await self.inner.load(flow) }
    func page(of flow: FlowID, after: Version, limit: PageLimit) async throws(StoreError) -> EventPage {
        try await self.inner.page(of: flow, after: after, limit: limit)
    }
    func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead] { try await self.inner.heads(of: flows) }
    func list(_ query: FlowQuery) async throws(StoreError) -> FlowList { try await self.inner.list(query) }
    func finished(before moment: Timestamp, limit: Int) async throws(StoreError) -> [FlowHead] {
        try await self.inner.finished(before: moment, limit: limit)
    }
    func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int {
        try await self.inner.prune(policy, now: now)
    }
    func probeWrite() async throws(StoreError) { try await self.inner.probeWrite() }
    func refreshEpoch() async throws(StoreError) -> Epoch { try await self.inner.refreshEpoch() }
    func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch {
        try await self.inner.raiseEpoch(from: from, now: now)
    }
    func usage(of account: String) async throws(StoreError) -> AccountUsage { try await self.inner.usage(of: account) }
    func highestUsage() async throws(StoreError) -> AccountUsage { try await self.inner.highestUsage() }
    func nextFencingToken() async throws(StoreError) -> Int64 { try await self.inner.nextFencingToken() }
    func revoke(_ revocation: Revocation, now: Timestamp) async throws(StoreError) -> RevocationOutcome {
        try await self.inner.revoke(revocation, now: now)
    }
    func revocations() async throws(StoreError) -> [Revocation] { try await self.inner.revocations() }
    func exportFlows(after: String?, limit: Int) async throws(StoreError) -> [ArchivedFlow] {
        try await self.inner.exportFlows(after: after, limit: limit)
    }
    func restore(_ flow: ArchivedFlow, events: [FlowEvent]) async throws(StoreError) -> RestoreOutcome {
        try await self.inner.restore(flow, events: events)
    }
    func exportReplies(after: ArchivedReply?, limit: Int) async throws(StoreError) -> [ArchivedReply] {
        try await self.inner.exportReplies(after: after, limit: limit)
    }
    func restore(_ reply: ArchivedReply) async throws(StoreError) -> Bool { try await self.inner.restore(reply) }
    func advanceFencing(beyond token: Int64) async throws(StoreError) { try await self.inner.advanceFencing(beyond: token) }
}

/// A cache with a defect that the contract must detect: it replaces a newer state by an older one.
final class FaultyStateCache: StateCache {
    /// Replaced by an empty one when a state is cached, so that no higher version is known.
    private let inner = Mutex(MemoryStateCache())

    private var current: MemoryStateCache { self.inner.withLock { $0 } }

    func put(_ record: FlowRecord, epoch: Epoch, readAt: ContinuousClock.Instant?) -> Bool {
        let empty = MemoryStateCache()
        empty.advance(to: epoch)
        self.inner.withLock { $0 = empty }
        return empty.put(record, epoch: epoch, readAt: readAt)
    }

    func flow(_ flow: FlowID, atLeast: Version) -> CachedFlow? { self.current.flow(flow, atLeast: atLeast) }
    func compare(_ flow: FlowID, with version: Version, epoch: Epoch, at instant: ContinuousClock.Instant) {
        self.current.compare(flow, with: version, epoch: epoch, at: instant)
    }
    func advance(to epoch: Epoch) { self.current.advance(to: epoch) }
    func versions() -> [FlowID: Version] { self.current.versions() }
}
