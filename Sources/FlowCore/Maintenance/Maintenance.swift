public import Logging
import Synchronization

/// The scheduled tasks of a hub, with what they have counted.
public final class Maintenance: Sendable {
    private let scheduler: TaskScheduler
    private let flows: FlowRetention
    private let checks: ImportChecks
    private let failedImports: DeletionCount

    /// - Parameters:
    ///   - instance: the name of this instance in the ledger.
    ///   - pruneSeconds: interval of the deletion of finished flows and failed imports, in seconds.
    public init(
        manager: StateManager, imports: ImportService, ledger: any TaskLedger, instance: String, pruneSeconds: Int,
        configuration: ScheduledTaskConfiguration, clock: HubClock, logger: Logger
    ) {
        let flows = FlowRetention(manager: manager, logger: logger)
        let checks = ImportChecks(imports, configuration: configuration, clock: clock, logger: logger)
        let failedImports = DeletionCount()
        self.flows = flows
        self.checks = checks
        self.failedImports = failedImports
        let hasRetention = configuration.flowSeconds > 0 || configuration.failedImportSeconds > 0
        let retention = ScheduledTask(.retention, interval: hasRetention ? pruneSeconds : 0) {
            guard let now = await clock.compare() else { throw ClocksDiffer() }
            var failures = 0
            if configuration.flowSeconds > 0 {
                failures += try await flows.delete(
                    before: now.advanced(bySeconds: -configuration.flowSeconds), limit: configuration.batch, now: now)
            }
            if configuration.failedImportSeconds > 0, !Task.isCancelled {
                let outcome = try await imports.deleteFailed(
                    before: now.advanced(bySeconds: -configuration.failedImportSeconds), limit: configuration.batch)
                failedImports.add(outcome.deleted)
                failures += outcome.failures
            }
            return failures
        }
        self.scheduler = TaskScheduler(
            [
                retention,
                ScheduledTask(.importSweep, interval: configuration.sweepSeconds) { try await checks.sweep() },
                ScheduledTask(.importVerify, interval: configuration.verifySeconds) { try await checks.verify() },
            ], ledger: ledger, instance: instance, now: clock.now(), logger: logger)
    }

    /// Runs the tasks that are due until the Swift task is canceled.
    func run() async { await self.scheduler.run() }

    /// The status of every task.
    public var statuses: [TaskScheduler.Status] { self.scheduler.statuses }

    /// What the tasks of this process have done.
    public var metrics: Metrics {
        let (objects, uploads, verified) = self.checks.metrics
        return Metrics(
            flows: self.flows.deletions, failedImports: self.failedImports.value, objects: objects, uploads: uploads,
            verifiedImports: verified)
    }

    /// Counters since the start of the process.
    public struct Metrics: Hashable, Sendable {
        /// Finished flows that were deleted because of their age.
        public var flows = 0
        /// Failed imports that were deleted because of their age.
        public var failedImports = 0
        /// Orphaned objects that scheduled import sweeps have deleted.
        public var objects = 0
        /// Unfinished uploads that scheduled import sweeps have aborted.
        public var uploads = 0
        /// Imports that scheduled verifications have read.
        public var verifiedImports = 0

        public init(flows: Int = 0, failedImports: Int = 0, objects: Int = 0, uploads: Int = 0, verifiedImports: Int = 0) {
            self.flows = flows
            self.failedImports = failedImports
            self.objects = objects
            self.uploads = uploads
            self.verifiedImports = verifiedImports
        }
    }
}

/// Number of failed imports that were deleted.
private final class DeletionCount: Sendable {
    private let count = Atomic<Int>(0)

    var value: Int { self.count.load(ordering: .relaxed) }
    func add(_ number: Int) { self.count.add(number, ordering: .relaxed) }
}
