/// The ledger of scheduled tasks: which instance runs which task, and the result of the last run. SQLite and Postgres implement
/// it; one contract suite runs on both.
///
/// An instance that runs a task has a lease, which expires by the ledger's clock and is extended during the run. Each run has a
/// higher number than those before it, and an instance that has lost its lease can change nothing any more. The ledger ignores
/// the store's epoch.
public protocol TaskLedger: Sendable {
    /// The records of all tasks that were ever begun.
    func tasks() async throws(StoreError) -> [TaskRecord]

    /// Begins a run, if the task is due: it was never begun, its last run was interrupted, or it has ended and began at least
    /// `interval` seconds ago. A run that began in the future, because the clock was set back, counts as long ago.
    /// - Parameters:
    ///   - lease: seconds until the lease expires if it is not extended.
    ///   - instance: the name of this instance, for operators.
    /// - Returns: the number of the run; `nil` if the task is not due.
    func begin(
        _ task: ScheduledTask.Name, interval: Int, lease: Int, instance: String
    ) async throws(StoreError) -> Int64?

    /// Sets the lease to expire `lease` seconds from now. 0: the run is interrupted, and any instance may begin another.
    /// - Returns: whether the run is still the latest one. If not, nothing was changed.
    func extend(_ task: ScheduledTask.Name, run: Int64, lease: Int) async throws(StoreError) -> Bool

    /// Ends a run with its result.
    /// - Returns: whether the run was still the latest one. If not, nothing was changed.
    @discardableResult
    func end(_ task: ScheduledTask.Name, run: Int64, _ result: TaskRecord.Result) async throws(StoreError) -> Bool
}

/// What the ledger knows of a scheduled task.
public struct TaskRecord: Hashable, Sendable {
    /// The result of a run that ended.
    public struct Result: Hashable, Sendable {
        /// Duration of the run, in milliseconds.
        public var milliseconds: Int64
        /// Number of problems that the run found, such as damaged imports.
        public var problems: Int
        /// The reason that the run did not reach its end; `nil` if it did.
        public var failure: String?

        public init(milliseconds: Int64, problems: Int, failure: String? = nil) {
            self.milliseconds = milliseconds
            self.problems = problems
            self.failure = failure
        }
    }

    /// The name in the ledger. It may be that of a task of another release.
    public var name: String
    /// Number of the last run that was begun.
    public var run: Int64
    /// The instance that began it.
    public var instance: String
    /// Seconds since it was begun, by the ledger's clock; negative if that was set back.
    public var age: Int64
    /// Whether it has neither ended nor lost its lease.
    public var isRunning: Bool
    /// Whether it lost its lease before it ended.
    public var isInterrupted: Bool
    /// The end of the last run that ended, and its result; `nil` if none did.
    public var ended: (at: Timestamp, result: Result)? {
        get { self.endedAt.map { ($0, self.result) } }
        set {
            self.endedAt = newValue?.at
            self.result = newValue?.result ?? Result(milliseconds: 0, problems: 0)
        }
    }
    private var endedAt: Timestamp?
    private var result = Result(milliseconds: 0, problems: 0)

    public init(
        name: String, run: Int64, instance: String, age: Int64, isRunning: Bool, isInterrupted: Bool,
        ended: (at: Timestamp, result: Result)?
    ) {
        self.name = name
        self.run = run
        self.instance = instance
        self.age = age
        self.isRunning = isRunning
        self.isInterrupted = isInterrupted
        self.ended = ended
    }

    /// Whether a run is due if the task's interval is this many seconds.
    public func isDue(interval: Int) -> Bool {
        !self.isRunning && (self.isInterrupted || self.age < 0 || self.age >= interval)
    }
}
