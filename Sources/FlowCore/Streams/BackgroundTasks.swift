public import Logging
import Synchronization

/// What goes on by itself in a running hub: reads that sequencers ask for, the version sweep, pruning, revocations.
///
/// All tasks of the core start in ``run()`` and end with it.
public final class BackgroundTasks: Sendable {
    public struct Configuration: Sendable {
        /// Between two sweeps when all is well: 15 where the bus tells every instance of every change, 1 where the sweep does.
        public var sweepSeconds = 15
        /// Flows asked for in one statement.
        public var sweepSlice = 5_000
        /// Between two rounds of pruning.
        public var pruneSeconds = 60
        public var retention = RetentionPolicy()
        /// Events and bytes of a page that fills a gap.
        public var page = PageLimit()

        public init() {}
    }

    private let manager: StateManager
    private let table: WatchTable
    private let cache: any StateCache
    private let revocations: any RevocationStore
    private let relay: OutboxRelay?
    private let foreign: ForeignUpdateApplier?
    private let health: HubHealth
    private let configuration: Configuration
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    private let work: AsyncStream<WatchTable.WorkItem>
    private let sweepIsDue = Atomic<Bool>(false)
    private let revocationsAreDue = Atomic<Bool>(false)
    private let lastSweep = Mutex(Duration.zero)
    private let knownRevocations = Mutex(RevocationList())

    public init(
        manager: StateManager, table: WatchTable, cache: any StateCache, revocations: any RevocationStore,
        relay: OutboxRelay? = nil, foreign: ForeignUpdateApplier? = nil,
        health: HubHealth, work: AsyncStream<WatchTable.WorkItem>, configuration: Configuration,
        now: @escaping @Sendable () -> Timestamp, logger: Logger
    ) {
        self.manager = manager
        self.table = table
        self.cache = cache
        self.revocations = revocations
        self.relay = relay
        self.foreign = foreign
        self.health = health
        self.work = work
        self.configuration = configuration
        self.now = now
        self.logger = logger
    }

    public func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.keepTime() }
            group.addTask { await self.keepRevocations() }
            group.addTask { await self.probeWrites() }
            group.addTask { await self.keepHouse() }
            if let relay = self.relay { group.addTask { await relay.run() } }
            if let foreign = self.foreign { group.addTask { await foreign.run(self.manager) } }
            for await item in self.work {
                if case .sweep = item, self.sweepIsDue.exchange(true, ordering: .relaxed) { continue }
                if case .revocations = item, self.revocationsAreDue.exchange(true, ordering: .relaxed) { continue }
                group.addTask { await self.perform(item) }
            }
            group.cancelAll()
        }
    }

    /// Whether the principal's token was revoked, as far as this instance knows.
    public func isRevoked(_ principal: Principal) -> Bool {
        self.knownRevocations.withLock { $0.isRevoked(principal) }
    }

    /// Reads the revocations anew and tells the streams if there are more of them.
    public func refreshRevocations() async {
        guard let stored = try? await self.revocations.revocations() else { return }
        var list = RevocationList()
        for revocation in stored { list.insert(revocation) }
        let isNew = self.knownRevocations.withLock { known in
            defer { known = list }
            return known != list
        }
        if isNew { self.table.tell(.revoked(list)) }
    }

    // MARK: Reads

    private func perform(_ work: WatchTable.WorkItem) async {
        switch work {
        case .open(let flow, let epoch):
            do {
                let record = try await self.manager.reload(flow)
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
            await self.refreshRevocations()
        case .sweep:
            // One answers for all that asked before it began.
            guard self.sweepIsDue.exchange(false, ordering: .relaxed) else { return }
            await self.sweepAndMeasure()
        }
    }

    // MARK: The sweep

    private func keepTime() async {
        var ticks = 0
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            ticks += 1
            self.table.tick()
            let interval = self.health.delivery == .ok ? self.configuration.sweepSeconds : 1
            // A sweep takes a quarter of the time at most, however many flows there are.
            guard .seconds(ticks) >= max(.seconds(interval), self.sweepTook * 4) else { continue }
            ticks = 0
            await self.sweepAndMeasure()
        }
    }

    /// As often as the sweep, and not in its way.
    private func keepRevocations() async {
        var ticks = 0
        while !Task.isCancelled {
            // By the second, so that a bus that falls silent is not waited for.
            if ticks >= (self.health.delivery == .ok ? self.configuration.sweepSeconds : 1) || ticks == 0 {
                await self.refreshRevocations()
                ticks = 0
            }
            ticks += 1
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
        }
    }

    /// While writes fail nobody may try one, so the hub does. A task of its own: a store that is away makes it wait.
    private func probeWrites() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            await self.manager.probeWrites()
        }
    }

    private func sweepAndMeasure() async {
        let began = ContinuousClock.now
        await self.sweep()
        self.lastSweep.withLock { $0 = ContinuousClock.now - began }
    }

    private var sweepTook: Duration { self.lastSweep.withLock { $0 } }

    private func sweep() async {
        let cached = self.cache.versions()
        let flows = Array(Set(self.table.watchedFlows()).union(cached.keys))
        do {
            // Also with nothing to ask for: the epoch may have changed, and a store that was away may be back.
            if flows.isEmpty { _ = try await self.manager.heads(of: []) }
            for start in stride(from: 0, to: flows.count, by: self.configuration.sweepSlice) {
                let slice = Array(flows[start..<min(start + self.configuration.sweepSlice, flows.count)])
                let epoch = self.manager.epoch
                // Before the read: what is delivered while it is under way may be above its answer.
                let delivered = self.table.delivered(slice)
                let heads = try await self.manager.heads(of: slice)
                let wentBack = self.table.surveyed(slice, heads: heads, delivered: delivered)
                if wentBack || Self.isAhead(cached, slice, heads) {
                    self.logger.error("The store is behind what was delivered; raising the epoch")
                    try await self.manager.raiseEpoch(from: epoch, now: self.now())
                    return
                }
                for head in heads { self.cache.remove(head.flow, below: head.version) }
            }
        } catch {
            self.logger.warning("The version sweep failed", metadata: ["error": "\(error)"])
        }
    }

    /// Whether memory has a version that the store does not have.
    private static func isAhead(_ cached: [FlowID: Version], _ flows: [FlowID], _ heads: [FlowHead]) -> Bool {
        var versions: [FlowID: Version] = [:]
        for head in heads { versions[head.flow] = head.version }
        return flows.contains { flow in cached[flow].map { $0 > versions[flow] ?? 0 } ?? false }
    }

    // MARK: Pruning

    private func keepHouse() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(self.configuration.pruneSeconds)) } catch { return }
            var removed = 0
            do {
                while !Task.isCancelled {
                    let count = try await self.manager.store.prune(self.configuration.retention, now: self.now())
                    removed += count
                    if count == 0 { break }
                }
                if removed > 0 { self.logger.debug("Pruned history", metadata: ["rows": "\(removed)"]) }
            } catch {
                self.logger.warning("Pruning failed", metadata: ["error": "\(error)"])
            }
        }
    }
}
