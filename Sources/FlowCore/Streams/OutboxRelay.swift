public import Logging

/// The message relay of the transactional outbox: publishes on the bus the commits whose publication is overdue, and
/// deletes the rows of commits that the bus has accepted.
///
/// Every instance runs one. Together they guarantee that each flow's newest commit is published at least once, even if the
/// instance that made it has crashed. Subscribers may receive an event twice; the sequencer drops the second one.
public struct OutboxRelay: Sendable {
    /// Maximum number of overdue rows that one round publishes.
    private static let batchSize = 500
    /// Pause between two rounds. A row is overdue after 1 s, so a commit whose writer crashed is published about 1.2 s after
    /// it was made, if no more rows are overdue than one round publishes.
    private static let interval = Duration.milliseconds(200)

    /// Minimum time between two compactions, which delete rows that a newer row of the same flow supersedes.
    private static let compactionInterval = Duration.seconds(10)

    private let outbox: any Outbox
    private let manager: StateManager
    private let bus: any EventBus
    private let logger: Logger

    public init(outbox: any Outbox, manager: StateManager, bus: any EventBus, logger: Logger) {
        self.outbox = outbox
        self.manager = manager
        self.bus = bus
        self.logger = logger
    }

    /// Runs until the task is canceled, then deletes the rows of the commits that the bus has accepted since the last round.
    /// Logs only the first of consecutive failures.
    public func run() async {
        var isFailing = false
        var lastCompaction = ContinuousClock.now - Self.compactionInterval
        while !Task.isCancelled {
            do { try await Task.sleep(for: Self.interval) } catch { break }
            do throws(StoreError) {
                try await self.runOnce(&lastCompaction)
                isFailing = false
            } catch {
                if !isFailing {
                    self.logger.warning("Outbox relay failed to use the store; retrying", metadata: ["error": "\(error)"])
                }
                isFailing = true
            }
        }
        // Another instance publishes the commits whose rows remain, once they are overdue.
        try? await self.outbox.deletePublished()
    }

    /// Deletes the rows of published commits, then publishes the overdue ones. While the bus does not deliver, it
    /// publishes nothing, and compacts the outbox every 10 s.
    /// - Parameter lastCompaction: the time of the last compaction, which this call updates.
    private func runOnce(_ lastCompaction: inout ContinuousClock.Instant) async throws(StoreError) {
        try await self.outbox.deletePublished()
        guard self.bus.isDelivering else {
            // Compaction scans the whole table, on every instance, so it runs rarely.
            if ContinuousClock.now - lastCompaction >= Self.compactionInterval {
                lastCompaction = .now
                try await self.outbox.compact()
            }
            return
        }
        let overdue = try await self.outbox.takeOverdue(limit: Self.batchSize)
        if !overdue.isEmpty { self.manager.publish(overdue) }
    }
}
