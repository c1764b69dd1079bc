import Synchronization

/// Reads of flows, from the caches or the store.
extension StateManager {
    /// A flow as it was read.
    public struct Reading: Sendable {
        /// The flow or its tombstone; `nil` if it never existed.
        public var record: FlowRecord?
        /// The epoch that the flow's version belongs to.
        public var epoch: Epoch
    }

    /// Which changes of other instances a flow must have that is read.
    public enum Freshness: Sendable {
        /// Those up to a version that the caller names. It may lack later ones, for as long as the version sweep does not find them.
        case version
        /// Those that were committed ``StateManager/maximumAge`` before the read began, or earlier.
        case recent
        /// All that were committed before the read began: the store is asked.
        case current
    }

    /// Counts of the comparisons of a cached flow with the store's version.
    public struct CheckCounts: Hashable, Sendable {
        /// The cached flow was current.
        public var current: Int
        /// The store had a later version.
        public var outdated: Int
    }

    /// What identifies a load that concurrent callers share. It includes the epoch, so that a load that started before an
    /// epoch change is not shared with callers after the change.
    struct LoadKey: Hashable, Sendable {
        var flow: FlowID
        var epoch: Epoch
    }

    /// The flow or its tombstone, from the memory cache, else the shared cache, else the store.
    ///
    /// A flow in memory that was current long enough ago for `freshness` is returned as it is. Otherwise the store is asked for
    /// its head; concurrent callers share the query. A flow in the shared cache is always compared with the head: another program
    /// may have written an older one back. While reads of the store fail, the caches are not used, because neither they can be
    /// compared with the store nor the version sweep finds the commits of other instances.
    /// - Parameter version: a version that the flow is known to have reached. A cached flow below it counts as a miss.
    public func read(
        _ flow: FlowID, atLeast version: Version = 0, _ freshness: Freshness = .recent
    ) async throws(StoreError) -> Reading {
        let start = self.now()
        var version = version
        let since: ContinuousClock.Instant? =
            switch freshness {
            case .version: nil
            case .recent: self.maximumAge.map { start - $0 }
            case .current: start
            }
        if !self.health.isReadUnavailable {
            if let cached = self.cachedFlow(flow, atLeast: version) {
                guard let since else { return Reading(record: cached.record, epoch: cached.epoch) }
                if let currentAt = cached.currentAt, currentAt >= since {
                    return Reading(record: cached.record, epoch: cached.epoch)
                }
                guard let newer = try await self.newerVersion(than: cached, since: since) else {
                    return Reading(record: cached.record, epoch: cached.epoch)
                }
                version = max(version, newer)
            } else if let shared = try await self.sharedFlow(flow, atLeast: version, since: since ?? start) {
                return shared
            }
        }
        let loaded = try await self.load(flow, since: since)
        if (loaded.record?.version ?? 0) >= version { return loaded }
        // The load was shared with an earlier caller, and had read the flow before this version was committed.
        return try await self.load(flow, since: start)
    }

    /// The flow or its tombstone, as with ``read(_:atLeast:_:)``; `nil` if it never existed.
    /// - Parameter version: a caller that names a version is content with it: a flow from memory is then not compared with the
    ///   store.
    public func record(of flow: FlowID, atLeast version: Version = 0) async throws(StoreError) -> FlowRecord? {
        try await self.read(flow, atLeast: version, version == 0 ? .recent : .version).record
    }

    /// The flow from the memory cache; `nil` on a miss.
    public func cachedRecord(of flow: FlowID, atLeast version: Version = 0) -> FlowRecord? {
        self.cachedFlow(flow, atLeast: version)?.record
    }

    /// The flow from the store, by a load that starts after this call and is not shared. The result is cached.
    public func loadFreshRecord(of flow: FlowID) async throws(StoreError) -> FlowRecord? {
        try await self.loadFresh(flow).record
    }

    /// How often ``read(_:atLeast:_:)`` has compared a flow in memory with the store.
    public var checkCounts: CheckCounts {
        CheckCounts(
            current: self.currentChecks.load(ordering: .relaxed), outdated: self.outdatedChecks.load(ordering: .relaxed))
    }

    /// The flow from the memory cache, unless it is of an epoch before the adopted one.
    private func cachedFlow(_ flow: FlowID, atLeast version: Version) -> CachedFlow? {
        let cached = self.cache.flow(flow, atLeast: version).flatMap { $0.epoch == self.store.epoch ? $0 : nil }
        self.counters.add(1, to: cached == nil ? .cacheStateMiss : .cacheStateHit)
        return cached
    }

    /// Compares a cached flow with the store's head, by a query that begins at or after `since`. If the store has a later version,
    /// the flow is dropped from the memory cache.
    /// - Returns: the store's version; `nil` if the cached flow has all changes that the store had at `since`.
    private func newerVersion(
        than cached: CachedFlow, since: ContinuousClock.Instant
    ) async throws(StoreError) -> Version? {
        let flow = cached.record.head.flow
        let answer = try await self.storedHead(of: flow, since: since)
        // Without the flow, or with a lower version, the store has regressed: the version sweep raises the epoch.
        let version = answer.head?.version ?? 0
        self.cache.compare(flow, with: version, epoch: cached.epoch, at: answer.readAt)
        let isCurrent = version <= cached.record.version && self.store.epoch == cached.epoch
        if isCurrent {
            self.currentChecks.add(1, ordering: .relaxed)
            return nil
        }
        self.outdatedChecks.add(1, ordering: .relaxed)
        return version
    }

    /// The flow's head in the store, from a query that begins at or after `since` and that concurrent callers share.
    private func storedHead(of flow: FlowID, since: ContinuousClock.Instant) async throws(StoreError) -> HeadReader.Answer {
        try await self.headReader.head(of: flow, since: since) { [self] flows throws(StoreError) in
            try await self.heads(of: flows)
        }
    }

    /// The flow from the shared cache; `nil` on a miss, or if the store's head, from a query that begins at or after `since`, has
    /// another version. It is then cached in memory.
    private func sharedFlow(
        _ flow: FlowID, atLeast version: Version, since: ContinuousClock.Instant
    ) async throws(StoreError) -> Reading? {
        guard let shared = self.shared else { return nil }
        let epoch = self.store.epoch
        let record = await self.sharedLoads.value(for: LoadKey(flow: flow, epoch: epoch), since: nil) {
            await shared.record(of: flow, atLeast: 0, epoch: epoch)
        }
        guard let record, record.version >= version else { return nil }
        let answer = try await self.storedHead(of: flow, since: since)
        // The cache refuses the flow if it has a later version, or had one that it has evicted.
        guard answer.head?.version == record.version, self.store.epoch == epoch,
            self.cache.put(record, epoch: epoch, readAt: answer.readAt)
        else { return nil }
        return Reading(record: record, epoch: epoch)
    }

    /// The flow from the store, by a load that begins at or after `since` and that concurrent callers share.
    private func load(_ flow: FlowID, since: ContinuousClock.Instant?) async throws(StoreError) -> Reading {
        let key = LoadKey(flow: flow, epoch: self.store.epoch)
        return try await self.loads.value(for: key, since: since) { [self] () async throws(StoreError) in
            try await self.loadFresh(flow)
        }
    }

    /// The flow from the store. It is never older than what this instance has returned or committed before the load began, unless
    /// the store has regressed.
    private func loadFresh(_ flow: FlowID) async throws(StoreError) -> Reading {
        var reading = try await self.loadOnce(flow)
        for _ in 0..<2 {
            guard let record = reading.value.record else { return reading.value }
            let epoch = reading.value.epoch
            if self.cache.put(record, epoch: epoch, readAt: reading.readAt) {
                self.shared?.put(record, epoch: epoch)
                return reading.value
            }
            // A later version was committed or loaded meanwhile, or the epoch has changed.
            if let newer = self.cache.flow(flow, atLeast: record.version), newer.epoch == self.store.epoch {
                return Reading(record: newer.record, epoch: newer.epoch)
            }
            reading = try await self.loadOnce(flow)
        }
        return reading.value
    }

    private func loadOnce(
        _ flow: FlowID
    ) async throws(StoreError) -> (value: Reading, readAt: ContinuousClock.Instant) {
        try await self.reading { () async throws(StoreError) in
            let (epoch, start) = (self.store.epoch, self.now())
            return (Reading(record: try await self.store.load(flow), epoch: epoch), start)
        }
    }
}
