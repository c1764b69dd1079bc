public import Logging
import Synchronization

/// The background tasks of a running hub: the store reads that ``WatchTable`` requests, the version sweep, pruning,
/// revocations, write probes, comparisons of the clock, the outbox relay, foreign updates and scheduled tasks.
///
/// All of them start in ``run()`` and end with it, as child tasks. None of them fails: errors are logged or recorded in
/// ``HubHealth``, and the work is done again later.
public final class BackgroundTasks: Sendable {
    /// Intervals and limits of the background tasks.
    public struct Configuration: Sendable {
        /// Interval between version sweeps in seconds while delivery is ok; otherwise it is 1 s. 15 s is enough if a bus
        /// delivers the events; without a bus between instances the sweep delivers them, so the interval should be 1 s.
        public var sweepSeconds = 15
        /// Maximum number of flows whose heads one query reads.
        public var sweepBatchSize = 5_000
        /// Pause between two rounds of pruning, in seconds.
        public var pruneSeconds = 60
        /// Limits of the history, for pruning.
        public var retention = RetentionPolicy()
        /// Maximum events and bytes of a history page that closes a gap.
        public var page = PageLimit()

        public init() {}
    }

    private let manager: StateManager
    private let table: WatchTable
    private let cache: any StateCache
    /// The revocations that this instance knows.
    public let revocations: RevocationMonitor
    private let relay: OutboxRelay?
    private let foreign: ForeignUpdateApplier?
    /// The tasks that one instance at a time runs.
    public let maintenance: Maintenance?
    private let health: HubHealth
    private let configuration: Configuration
    private let clock: HubClock
    private let logger: Logger
    private let work: AsyncStream<WatchTable.WorkItem>
    /// Whether a version sweep was requested that has not started yet.
    private let sweepIsDue = Atomic<Bool>(false)
    /// Whether a read of the revocations was requested that has not started yet.
    private let revocationsAreDue = Atomic<Bool>(false)
    /// See ``highestUsage``.
    private let usage = Mutex(AccountUsage())
    /// Duration of the most recent version sweep.
    private let lastSweep = Mutex(Duration.zero)
    private let sweepFailureLog = LogLimiter()

    public init(
        manager: StateManager, table: WatchTable, cache: any StateCache, revocations: any RevocationStore,
        relay: OutboxRelay? = nil, foreign: ForeignUpdateApplier? = nil,
        maintenance: Maintenance? = nil, health: HubHealth, work: AsyncStream<WatchTable.WorkItem>, configuration: Configuration,
        clock: HubClock, logger: Logger
    ) {
        self.manager = manager
        self.table = table
        self.cache = cache
        self.revocations = RevocationMonitor(
            store: revocations, logger: logger,
            added: { table.broadcast(.revoked($0)) })
        self.relay = relay
        self.foreign = foreign
        self.maintenance = maintenance
        self.health = health
        self.work = work
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
    }

    /// Runs all tasks until the asynchronous sequence of work items ends, or until the task that called this is canceled.
    public func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.runSweepTimer() }
            group.addTask { await self.pollRevocations() }
            group.addTask { await self.probeWrites() }
            group.addTask { await self.runPruning() }
            group.addTask { await self.clock.run() }
            if let relay = self.relay { group.addTask { await relay.run() } }
            if let foreign = self.foreign { group.addTask { await foreign.run(self.manager) } }
            if let maintenance = self.maintenance { group.addTask { await maintenance.run() } }
            for await item in self.work {
                if case .sweep = item, self.sweepIsDue.exchange(true, ordering: .relaxed) { continue }
                if case .revocations = item, self.revocationsAreDue.exchange(true, ordering: .relaxed) { continue }
                group.addTask { await self.perform(item) }
            }
            group.cancelAll()
        }
    }

    /// For each resource the highest count of any account, as of the most recent pruning.
    public var highestUsage: AccountUsage { self.usage.withLock { $0 } }

    // MARK: Reads

    /// Does the work that the watch table requests, and reports the result of a read of a flow to the table.
    private func perform(_ work: WatchTable.WorkItem) async {
        switch work {
        case .open(let flow, let epoch):
            do {
                let record = try await self.manager.loadFreshRecord(of: flow)
                let last = await self.manager.latestTransients(of: flow, since: record?.head.resetVersion ?? 0)
                self.table.opened(flow, record, last: last, epoch: epoch)
            } catch {
                self.table.openFailed(flow, epoch: epoch)
            }
        case .page(let flow, let after, let epoch):
            do {
                let page = try await self.manager.page(of: flow, after: after, limit: self.configuration.page)
                self.table.loaded(flow, page, epoch: epoch)
            } catch {
                self.table.loadFailed(flow, epoch: epoch)
            }
        case .revocations:
            guard self.revocationsAreDue.exchange(false, ordering: .relaxed) else { return }
            await self.revocations.refresh()
        case .sweep:
            // One sweep serves all requests that were made before it started.
            guard self.sweepIsDue.exchange(false, ordering: .relaxed) else { return }
            await self.timedSweep()
        }
    }

    // MARK: Periodic tasks

    /// Runs a version sweep every ``Configuration/sweepSeconds`` (every second while delivery is not ok), and
    /// ``WatchTable/tick()`` every second.
    private func runSweepTimer() async {
        var ticks = 0
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            ticks += 1
            self.table.tick()
            let interval = self.health.delivery == .ok ? self.configuration.sweepSeconds : 1
            // A pause is at least four times as long as the most recent sweep, so that periodic sweeps use at most a
            // fifth of the time, however many flows there are.
            guard .seconds(ticks) >= max(.seconds(interval), self.lastSweepDuration * 4) else { continue }
            ticks = 0
            await self.timedSweep()
        }
    }

    /// Reads the revocations at the interval of the version sweep, in a task of its own so that neither delays the other.
    private func pollRevocations() async {
        var ticks = 0
        while !Task.isCancelled {
            // Checks every second, so that a bus outage takes effect without waiting for a full interval.
            if ticks >= (self.health.delivery == .ok ? self.configuration.sweepSeconds : 1) || ticks == 0 {
                await self.revocations.refresh()
                ticks = 0
            }
            ticks += 1
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
        }
    }

    /// Probes every second whether the store accepts writes again, once a write has failed: publishers may send no change
    /// that would show this. Runs in a task of its own because a probe of an unavailable store may take long.
    private func probeWrites() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            if await self.manager.probeWrites() { self.logger.notice("Store accepts writes again") }
        }
    }

    /// Runs a version sweep and records its duration.
    private func timedSweep() async {
        let start = ContinuousClock.now
        await self.sweep()
        self.lastSweep.withLock { $0 = ContinuousClock.now - start }
    }

    private var lastSweepDuration: Duration { self.lastSweep.withLock { $0 } }

    /// The version sweep: compares the store's heads of all watched and cached flows with what was delivered or cached.
    ///
    /// Reads are requested for watched flows that are behind the store, and outdated cache entries are dropped. If the
    /// store has a lower version than was delivered or cached, it regressed, and the epoch is raised.
    private func sweep() async {
        let cached = self.cache.versions()
        let flows = Array(Set(self.table.watchedFlows()).union(cached.keys))
        do {
            // Query the store even if there are no flows. The query detects a changed epoch, and that the store is available
            // again.
            if flows.isEmpty { _ = try await self.manager.heads(of: []) }
            for start in stride(from: 0, to: flows.count, by: self.configuration.sweepBatchSize) {
                let batch = Array(flows[start..<min(start + self.configuration.sweepBatchSize, flows.count)])
                let epoch = self.manager.epoch
                // Must precede the read of the heads: events that are delivered during that read may be above its result.
                let delivered = self.table.deliveredVersions(of: batch)
                let heads = try await self.manager.heads(of: batch)
                let ended = self.tombstonesMayHaveEndedBefore
                let storeRegressed = self.table.applySweep(batch, heads: heads, delivered: delivered, endedBefore: ended)
                let endedTombstones = self.dropEndedTombstones(batch, heads, before: ended)
                if storeRegressed || Self.isAhead(cached, batch.filter { !endedTombstones.contains($0) }, heads) {
                    self.logger.error(
                        "Store has lower versions than this instance has delivered or cached (restored?); raising the epoch")
                    try await self.manager.raiseEpoch(from: epoch, now: self.clock.now())
                    return
                }
                for head in heads { self.cache.remove(head.flow, below: head.version) }
            }
        } catch {
            if let count = self.sweepFailureLog.add() {
                self.logger.warning(
                    "Version sweep failed", metadata: ["error": "\(error)", "failures": .stringConvertible(count)])
            }
        }
    }

    /// Tombstones of flows that were deleted before this time may be missing from the store: they may have ended. Earlier than
    /// that, a missing tombstone shows that the store regressed. Half of the retention leaves room for differences of the
    /// instances' clocks and settings.
    private var tombstonesMayHaveEndedBefore: Timestamp {
        let seconds = self.configuration.retention.tombstoneSeconds
        return seconds > 0 ? self.clock.now().advanced(bySeconds: -seconds / 2) : Timestamp(milliseconds: .min)
    }

    /// Drops the cached tombstones that the store does not have any more, if they may have ended.
    /// - Returns: the flows of these tombstones.
    private func dropEndedTombstones(_ flows: [FlowID], _ heads: [FlowHead], before moment: Timestamp) -> Set<FlowID> {
        let existing = Set(heads.map(\.flow))
        var ended: Set<FlowID> = []
        for flow in flows where !existing.contains(flow) {
            guard let record = self.cache.record(of: flow, atLeast: 0), record.head.isDeleted, record.head.updatedAt < moment
            else { continue }
            self.cache.remove(flow, below: record.version + 1)
            ended.insert(flow)
        }
        return ended
    }

    /// Whether one of the flows has a higher version in `cached` than in `heads`, its heads in the store. That means that the
    /// store regressed.
    private static func isAhead(_ cached: [FlowID: Version], _ flows: [FlowID], _ heads: [FlowHead]) -> Bool {
        var versions: [FlowID: Version] = [:]
        for head in heads { versions[head.flow] = head.version }
        return flows.contains { flow in cached[flow].map { $0 > versions[flow] ?? 0 } ?? false }
    }

    // MARK: Pruning

    /// Runs until the task is canceled: every ``Configuration/pruneSeconds``, deletes the events and stored replies beyond the
    /// retention, in batches until a batch deletes nothing. Ages are those by the store's clock. While this instance's clock
    /// differs from it, nothing is deleted.
    private func runPruning() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(self.configuration.pruneSeconds)) } catch { return }
            var removed = 0
            do {
                while !Task.isCancelled, let now = await self.clock.compare() {
                    let count = try await self.manager.prune(self.configuration.retention, now: now)
                    removed += count
                    if count == 0 { break }
                }
                if removed > 0 { self.logger.debug("Pruned history", metadata: ["rows": .stringConvertible(removed)]) }
                let usage = try await self.manager.highestUsage()
                self.usage.withLock { $0 = usage }
            } catch {
                self.logger.warning("Pruning of history failed", metadata: ["error": "\(error)"])
            }
        }
    }
}
