import FlowCore

extension Setting {
    /// What the instances delete and check by themselves, one of them at a time.
    static let tasks: [Setting] = [
        .number(
            "FLOWHUB_FLOW_RETENTION_SECONDS", \.tasks.flowSeconds, 0...3_153_600_000,
            "Time since its last change after which a completed, failed or cancelled flow is deleted, in seconds; 0: never."),
        .number(
            "FLOWHUB_FAILED_IMPORT_SECONDS", \.tasks.failedImportSeconds, 0...3_153_600_000,
            "Time since its failure after which a failed import is deleted from the import ledger, in seconds; 0: never."),
        .number(
            "FLOWHUB_RETENTION_BATCH", \.tasks.batch, 1...100_000,
            "Maximum flows, and maximum failed imports, that are deleted by age every FLOWHUB_PRUNE_SECONDS."),
        .number(
            "FLOWHUB_IMPORT_SWEEP_SECONDS", \.tasks.sweepSeconds, 0...31_536_000,
            "Interval at which one instance runs the import sweep (as `flowhub imports sweep`), in seconds; 0: never."),
        .number(
            "FLOWHUB_IMPORT_SWEEP_AGE_SECONDS", \.tasks.sweepAgeSeconds, 0...31_536_000,
            "Minimum age of objects and unfinished uploads that this import sweep deletes, in seconds."),
        .number(
            "FLOWHUB_IMPORT_VERIFY_SECONDS", \.tasks.verifySeconds, 0...31_536_000,
            "Interval at which one instance reads and verifies all imports (as `flowhub imports verify`), in seconds; 0: never."),
    ]
}
