import Synchronization

/// The one door to the flows: every change goes through the store and out on the bus, every read through the cache.
///
/// What a commit made is put into the cache and published in commit order, before its publisher is answered; so a reader
/// that was told "done" finds it done. Safe to use from any task.
public final class StateManager: Sendable {
    public let store: any FlowStore
    private let cache: any StateCache
    private let transients: any TransientStore
    private let bus: any EventBus
    private let outbox: (any Outbox)?
    private let shared: (any SharedStateCache)?
    private let counters: any Counters
    private let health: HubHealth
    /// A load of one history does not answer for another.
    private struct LoadKey: Hashable, Sendable {
        var flow: FlowID
        var epoch: Epoch
    }

    private let loads = SingleFlight<LoadKey, FlowRecord?, StoreError>()
    private let sharedLoads = SingleFlight<LoadKey, FlowRecord?, Never>()
    private let announcedEpoch: Mutex<Epoch>
    private let epochChanged: @Sendable (Epoch) -> Void

    /// - Parameters:
    ///   - outbox: where the store notes what it commits until the bus has taken it; `nil` if it does not.
    ///   - shared: what the instances leave for each other; `nil` if there is nothing of the kind.
    ///   - epochChanged: called after the store was found to have another history and the cache was emptied.
    public init(
        store: any FlowStore, cache: any StateCache, transients: any TransientStore, bus: any EventBus,
        outbox: (any Outbox)? = nil, shared: (any SharedStateCache)? = nil, counters: any Counters, health: HubHealth,
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
        self.epochChanged = epochChanged
        self.announcedEpoch = Mutex(store.epoch)
        cache.removeAll(epoch: store.epoch)
        store.observeCommits { commits in
            counters.add(commits.reduce(0) { $0 + $1.events.count }, to: .eventsDurable)
            Self.publish(commits, cache: cache, shared: shared, bus: bus, outbox: outbox)
        }
    }

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

    /// Tells the bus of commits that another process, or this one before, did not get to publish.
    func publish(_ commits: [Commit]) {
        Self.publish(commits, cache: self.cache, shared: self.shared, bus: self.bus, outbox: self.outbox)
    }

    public var epoch: Epoch { self.store.epoch }

    /// Commits a change. It is published by the time this returns.
    public func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome {
        let outcome = try await self.underCurrentEpoch(.writing) { () async throws(StoreError) in
            try await self.store.apply(change)
        }
        // Of the other outcomes the store may have known without writing anything.
        if case .applied = outcome { self.health.storeSucceeded(.writing) }
        return outcome
    }

    /// Shows whether the store takes writes again, when it is thought not to.
    func probeWrites() async {
        guard self.health.isWriteUnavailable else { return }
        do throws(StoreError) {
            try await self.store.probeWrite()
            self.health.storeSucceeded(.writing)
        } catch {
            self.health.storeFailed(.writing)
        }
    }

    /// The flow, from memory if it is there; tombstones included.
    /// - Parameter atLeast: a version that is known to exist; anything older counts as a miss.
    public func record(of flow: FlowID, atLeast version: Version = 0) async throws(StoreError) -> FlowRecord? {
        // While the store cannot be asked the version sweep does not look after memory: other instances may be ahead of it.
        if !self.health.isReadUnavailable, let cached = self.cachedRecord(of: flow, atLeast: version) { return cached }
        if !self.health.isReadUnavailable, let shared = await self.sharedRecord(of: flow, atLeast: version) { return shared }
        let record = try await self.loadRecord(of: flow)
        if (record?.version ?? 0) >= version { return record }
        // That load was under way before the version was there.
        return try await self.loadRecord(of: flow)
    }

    /// The flow as another instance left it; from then on it is in memory, and the sweep looks after it.
    private func sharedRecord(of flow: FlowID, atLeast version: Version) async -> FlowRecord? {
        guard let shared = self.shared else { return nil }
        let epoch = self.store.epoch
        let record = await self.sharedLoads.value(for: LoadKey(flow: flow, epoch: epoch)) {
            await shared.record(of: flow, atLeast: 0, epoch: epoch)
        }
        guard let found = record, found.version >= version else { return nil }
        self.cache.put(found, epoch: epoch)
        // What this instance has seen by now may be newer.
        return self.cache.record(of: flow, atLeast: version)
    }

    /// The flow, if it is in memory.
    public func cachedRecord(of flow: FlowID, atLeast version: Version = 0) -> FlowRecord? {
        let cached = self.cache.record(of: flow, atLeast: version)
        self.counters.add(1, to: cached == nil ? .cacheStateMiss : .cacheStateHit)
        return cached
    }

    /// The flow as the store has it; loads that are under way at the same time are one.
    public func loadRecord(of flow: FlowID) async throws(StoreError) -> FlowRecord? {
        try await self.loads.value(for: LoadKey(flow: flow, epoch: self.store.epoch)) { [self] () async throws(StoreError) in
            try await self.loadFreshRecord(of: flow)
        }
    }

    /// The flow as the store has it now, by a read that begins after this call.
    public func loadFreshRecord(of flow: FlowID) async throws(StoreError) -> FlowRecord? {
        try await self.reading { () async throws(StoreError) in
            let epoch = self.store.epoch
            let record = try await self.store.load(flow)
            if let record {
                self.cache.put(record, epoch: epoch)
                self.shared?.put(record, epoch: epoch)
            }
            return record
        }
    }

    /// Durable events above a version.
    public func page(of flow: FlowID, after version: Version, limit: PageLimit) async throws(StoreError) -> EventPage {
        try await self.reading { () async throws(StoreError) in
            try await self.store.page(of: flow, after: version, limit: limit)
        }
    }

    public func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead] {
        try await self.reading { () async throws(StoreError) in try await self.store.heads(of: flows) }
    }

    public func list(_ query: FlowQuery) async throws(StoreError) -> FlowList {
        try await self.reading { () async throws(StoreError) in try await self.store.list(query) }
    }

    // MARK: Transient events

    /// Hands an event to whoever watches now. It is kept only as the latest of its type.
    /// - Parameter version: the flow's version, as far as the caller knows it.
    public func publish(_ events: [TransientEvent], of flow: FlowID, account: String, at version: Version) {
        let epoch = self.store.epoch
        // A flow that does not exist belongs to nobody: what is said of it now must not be shown to whoever creates it.
        if version > 0 { for event in events { self.transients.record(event, of: flow, at: version) } }
        self.counters.add(events.count, to: .eventsTransient)
        self.bus.publish(
            events.map { BusMessage(flow: flow, account: account, epoch: epoch, content: .transient($0)) })
    }

    /// The latest transient event of each type that still says something about the flow.
    public func latestTransients(of flow: FlowID, since version: Version) async -> [TransientEvent] {
        await self.transients.latest(of: flow, since: version)
    }

    // MARK: Epoch

    /// Works under the store's present epoch and forgets whatever was in memory, if it is another one than before.
    public func refreshEpoch() async throws(StoreError) {
        self.adopt(try await self.store.refreshEpoch())
    }

    /// The store went back in time: gives its history a new name, so that no version means two things.
    /// - Parameter from: the epoch under which that was found. If it was raised since, that is enough.
    public func raiseEpoch(from epoch: Epoch, now: Timestamp) async throws(StoreError) {
        let raised = try await self.store.raiseEpoch(from: epoch, now: now)
        self.adopt(raised)
    }

    private func adopt(_ epoch: Epoch) {
        // Several callers may meet a new epoch at once, and a slow one may come with an older one than is known by now:
        // subscribers are told once of each, and in order. Under the lock, so that two beginnings cannot overtake each other.
        self.announcedEpoch.withLock { announced in
            guard epoch > announced else { return }
            announced = epoch
            self.cache.removeAll(epoch: epoch)
            self.transients.removeAll()
            self.epochChanged(epoch)
        }
    }

    private func reading<Value: Sendable>(_ body: () async throws(StoreError) -> Value) async throws(StoreError) -> Value {
        let value = try await self.underCurrentEpoch(.reading, body)
        self.health.storeSucceeded(.reading)
        return value
    }

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
            case .overloaded, .epochChanged: break
            }
            throw error
        }
    }
}
