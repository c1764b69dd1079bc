/// A task that the instances run at an interval, one instance at a time. See ``TaskScheduler``.
public struct ScheduledTask: Sendable {
    /// The raw value is the name in the ledger, in logs and in metrics.
    public enum Name: String, Hashable, Sendable, CaseIterable {
        /// Deletion of finished flows and failed imports by their age.
        case retention
        /// The import sweep.
        case importSweep = "import_sweep"
        /// The verification of all imports.
        case importVerify = "import_verify"
    }

    public var name: Name
    /// Seconds from the begin of a run to the begin of the next; 0: the task does not run.
    public var interval: Int
    /// Runs the task once, and returns the number of problems that it found. Ends soon after its Swift task is canceled.
    public var run: @Sendable () async throws -> Int

    public init(_ name: Name, interval: Int, run: @escaping @Sendable () async throws -> Int) {
        self.name = name
        self.interval = interval
        self.run = run
    }
}

/// The settings of the scheduled tasks.
public struct ScheduledTaskConfiguration: Hashable, Sendable {
    /// `FLOWHUB_FLOW_RETENTION_SECONDS`: age after which a finished flow is deleted, in seconds since its last change; 0: never.
    public var flowSeconds: Int64 = 0
    /// `FLOWHUB_FAILED_IMPORT_SECONDS`: age after which a failed import is deleted, in seconds since its failure; 0: never.
    public var failedImportSeconds: Int64 = 0
    /// `FLOWHUB_RETENTION_BATCH`: maximum number of flows, and of failed imports, that one run deletes.
    public var batch = 1_000
    /// `FLOWHUB_IMPORT_SWEEP_SECONDS`: interval of the import sweep, in seconds; 0: never.
    public var sweepSeconds = 0
    /// `FLOWHUB_IMPORT_SWEEP_AGE_SECONDS`: minimum age of objects and uploads that the sweep deletes, in seconds.
    public var sweepAgeSeconds: Int64 = 86_400
    /// `FLOWHUB_IMPORT_VERIFY_SECONDS`: interval of the verification of all imports, in seconds; 0: never.
    public var verifySeconds = 0

    public init() {}
}

/// The failure of a task that removes something by its age, while the clock of this instance differs from the store's or that could
/// not be read.
struct ClocksDiffer: Error, CustomStringConvertible {
    let description = "the clock of this instance differs from the store's, or that could not be read; nothing is removed by age"
}
