import Synchronization

/// The only API of a running hub for changing flows, and the cached API for reading them.
///
/// A change is committed by the store, then cached and published on the bus, in commit order and before the client that
/// sent it is answered. So a client that then reads the flow from the same instance finds its change. Every store
/// operation runs under the adopted epoch: if the store's epoch has changed, the manager adopts it, empties the caches
/// and retries the operation once. Results of store operations update ``HubHealth``. Safe to use from any task.
public final class StateManager: Sendable {
    let store: any FlowStore
    let cache: any StateCache
    private let transients: any TransientStore
    private let bus: any EventBus
    private let outbox: (any Outbox)?
    let shared: (any SharedStateCache)?
    let counters: any Counters
    let health: HubHealth
    /// See ``Freshness/recent``. `nil`: no other instance changes the store, so a flow in memory is current at any age.
    let maximumAge: Duration?
    let now: @Sendable () -> ContinuousClock.Instant
    /// The loads from the store that are in flight.
    let loads: SingleFlight<LoadKey, Reading, StoreError>
    /// The loads from the shared state cache that are in flight.
    let sharedLoads: SingleFlight<LoadKey, FlowRecord?, Never>
    /// Reads the heads with which flows from the caches are compared.
    let headReader: HeadReader
    /// See ``checkCounts``.
    let currentChecks = Atomic<Int>(0)
    let outdatedChecks = Atomic<Int>(0)
    /// The epoch with which `epochChanged` was called last; before the first call, the epoch at the start.
    private let announcedEpoch: Mutex<Epoch>
    private let epochChanged: @Sendable (Epoch) -> Void

    /// - Parameters:
    ///   - outbox: marks commits as published when the bus has accepted them; `nil` if the store has no outbox.
    ///   - shared: the cache that the instances share; `nil` if there is none.
    ///   - maximumAge: how old a flow in memory may be that ``Freshness/recent`` is content with; `nil` if no other instance changes
    ///     the store.
    ///   - now: the clock by which ages are measured.
    ///   - epochChanged: called once for each newly adopted epoch, in order, after the caches were emptied. Called under
    ///     a lock, from any thread; must not call back into the manager.
    public init(
        store: any FlowStore, cache: any StateCache, transients: any TransientStore, bus: any EventBus,
        outbox: (any Outbox)? = nil, shared: (any SharedStateCache)? = nil, counters: any Counters, health: HubHealth,
        maximumAge: Duration? = nil, now: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        epochChanged: @escaping @Sendable (Epoch) -> Void
    ) {
        self.store = store
        self.cache = cache
        self.transients = transients
        self.bus = bus
        self.outbox = outbox
        self.shared = shared
        self.counters = counters
        self.health = health
        self.maximumAge = maximumAge
        self.now = now
        self.loads = SingleFlight(now: now)
        self.sharedLoads = SingleFlight(now: now)
        self.headReader = HeadReader(now: now)
        self.epochChanged = epochChanged
        self.announcedEpoch = Mutex(store.epoch)
        cache.advance(to: store.epoch)
        store.observeCommits { commits in
            counters.add(commits.reduce(0) { $0 + $1.events.count }, to: .eventsDurable)
            Self.publish(commits, cache: cache, shared: shared, bus: bus, outbox: outbox)
        }
    }

    /// Caches commits and publishes their events on the bus. Static, so that the store's observer does not retain the
    /// manager.
    private static func publish(
        _ commits: [Commit], cache: any StateCache, shared: (any SharedStateCache)?, bus: any EventBus, outbox: (any Outbox)?
    ) {
        var messages: [BusMessage] = []
        messages.reserveCapacity(commits.count)
        for commit in commits {
            cache.put(commit.record, epoch: commit.epoch)
            shared?.put(commit.record, epoch: commit.epoch)
            for event in commit.events {
                messages.append(
                    BusMessage(
                        flow: commit.record.head.flow, account: commit.record.head.account, epoch: commit.epoch,
                        content: .durable(event, head: commit.record.head)))
            }
        }
        if let outbox {
            bus.publish(messages) { outbox.markPublished(commits) }
        } else {
            bus.publish(messages, onAccepted: nil)
        }
    }

    /// Caches and publishes commits from the outbox: the bus has not confirmed their publication by the instance that made
    /// them.
    func publish(_ commits: [Commit]) {
        Self.publish(commits, cache: self.cache, shared: self.shared, bus: self.bus, outbox: self.outbox)
    }

    /// The adopted epoch.
    public var epoch: Epoch { self.store.epoch }

    /// Commits a change, and passes its events to the bus before it returns.
    public func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome {
        // A success does not prove that the store is available again after a failure: on an almost full disk small changes
        // succeed and larger ones fail. Only the probe does, which is as large as what failed.
        try await self.underCurrentEpoch(.write) { () async throws(StoreError) in
            try await self.store.apply(change)
        }
    }

    /// Probes whether the store accepts writes, if a write has failed since the last successful probe or the store is
    /// read-only.
    /// - Returns: whether it does, after it did not.
    @discardableResult
    func probeWrites() async -> Bool {
        let wasUnavailable = self.health.isWriteUnavailable
        guard wasUnavailable || self.store.isReadOnly else { return false }
        do throws(StoreError) {
            try await self.store.probeWrite()
            self.health.storeSucceeded(.write)
            return wasUnavailable
        } catch {
            self.health.storeFailed(.write)
            return false
        }
    }

    /// A history page: durable events above a version, from the store.
    public func page(of flow: FlowID, after version: Version, limit: PageLimit) async throws(StoreError) -> EventPage {
        try await self.reading { () async throws(StoreError) in
            try await self.store.page(of: flow, after: version, limit: limit)
        }
    }

    /// The heads of flows, from the store. An empty list tests whether the store can be read.
    public func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead] {
        try await self.reading { () async throws(StoreError) in try await self.store.heads(of: flows) }
    }

    /// A list page of flows, from the store.
    public func list(_ query: FlowQuery) async throws(StoreError) -> FlowList {
        try await self.reading { () async throws(StoreError) in try await self.store.list(query) }
    }

    /// The heads of finished flows whose last change was before a moment, from the store.
    func finished(before moment: Timestamp, limit: Int) async throws(StoreError) -> [FlowHead] {
        try await self.reading { () async throws(StoreError) in try await self.store.finished(before: moment, limit: limit) }
    }

    // MARK: Transient events

    /// Publishes transient events directly on the bus. Each is kept only as the latest of its type. Does not wait or fail.
    /// - Parameter version: the flow's version, as far as the caller knows it; 0 if the flow does not exist.
    public func publish(_ events: [TransientEvent], of flow: FlowID, account: String, at version: Version) {
        let epoch = self.store.epoch
        // A flow that does not exist has no owner. Its events are not kept, because another account might create the flow.
        if version > 0 { for event in events { self.transients.record(event, of: flow, at: version) } }
        self.counters.add(events.count, to: .eventsTransient)
        self.bus.publish(
            events.map { BusMessage(flow: flow, account: account, epoch: epoch, content: .transient($0)) })
    }

    /// The latest transient event of each type that was published at or above `version`, the flow's reset version.
    public func latestTransients(of flow: FlowID, since version: Version) async -> [TransientEvent] {
        await self.transients.latest(of: flow, since: version)
    }

    // MARK: Epoch

    /// Adopts the store's epoch. If it is higher than the last one, empties the caches and calls `epochChanged`.
    public func refreshEpoch() async throws(StoreError) {
        self.adopt(try await self.store.refreshEpoch())
    }

    /// Raises the store's epoch after the store regressed, so that no version identifies two events, and adopts it.
    /// - Parameter epoch: the epoch in which the store was found to have regressed. If another instance has raised the
    ///   store's epoch since, the raised one is adopted.
    public func raiseEpoch(from epoch: Epoch, now: Timestamp) async throws(StoreError) {
        let raised = try await self.store.raiseEpoch(from: epoch, now: now)
        self.adopt(raised)
    }

    /// Empties the memory cache and the latest transients, and calls `epochChanged`, if the epoch is higher than in the last
    /// call of `epochChanged`.
    private func adopt(_ epoch: Epoch) {
        // Several callers may find a new epoch at the same time, and a slow one may pass an outdated epoch. The lock is held
        // during the notification, so that each epoch is announced once and in order.
        self.announcedEpoch.withLock { announced in
            guard epoch > announced else { return }
            announced = epoch
            self.cache.advance(to: epoch)
            self.transients.removeAll()
            self.epochChanged(epoch)
        }
    }

    /// Runs a read of the store under the adopted epoch, and reports its success to ``HubHealth``.
    func reading<Value: Sendable>(_ body: () async throws(StoreError) -> Value) async throws(StoreError) -> Value {
        let value = try await self.underCurrentEpoch(.read, body)
        self.health.storeSucceeded(.read)
        return value
    }

    /// Runs a store operation. If the store's epoch has changed, adopts it and runs the operation a second time. Reports
    /// to ``HubHealth`` a failure that means that the store is unavailable.
    private func underCurrentEpoch<Value: Sendable>(
        _ access: HubHealth.StoreAccess, _ body: () async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        do throws(StoreError) {
            do throws(StoreError) {
                return try await body()
            } catch .epochChanged {
                try await self.refreshEpoch()
                return try await body()
            }
        } catch {
            switch error {
            case .unavailable, .outcomeUnknown: self.health.storeFailed(access)
            case .overloaded, .invalidValue, .epochChanged: break
            }
            throw error
        }
    }
}
