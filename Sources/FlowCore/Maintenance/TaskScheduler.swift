public import Logging
import Synchronization

/// Runs scheduled tasks when they are due, on one instance at a time. The store's ``TaskLedger`` decides when a task is due and
/// which instance runs it, by its own clock. So restarts and further instances make no task run more often.
///
/// An instance that stops gives its runs back, and another one begins them at once. The run of an instance that died is begun
/// again when its lease has expired. A task may therefore run twice, even at the same time for a moment: each one is correct then,
/// and the ledger only saves work.
public final class TaskScheduler: Sendable {
    /// Maximum seconds between two looks at the ledger.
    private static let longestPause = 30

    private let tasks: [ScheduledTask]
    private let ledger: any TaskLedger
    private let instance: String
    private let lease: Int
    private let logger: Logger
    private let startedAt: Timestamp
    private let records = Mutex<[String: TaskRecord]>([:])
    private let running = Mutex<Set<ScheduledTask.Name>>([])
    private let failureLog = LogLimiter()

    /// - Parameters:
    ///   - tasks: the tasks; those with the interval 0 do not run.
    ///   - instance: the name of this instance in the ledger.
    ///   - lease: seconds until the lease of a run expires if it is not extended. It is extended at a third of this time.
    ///   - now: the current time, which counts as the last end of a task that has never ended.
    public init(
        _ tasks: [ScheduledTask], ledger: any TaskLedger, instance: String, lease: Int = 60, now: Timestamp, logger: Logger
    ) {
        self.tasks = tasks
        self.ledger = ledger
        self.instance = instance
        self.lease = lease
        self.startedAt = now
        self.logger = logger
    }

    /// What operators see of one task.
    public struct Status: Hashable, Sendable {
        public var name: ScheduledTask.Name
        /// The configured interval in seconds; 0: the task does not run.
        public var interval: Int
        /// The end of the last run on any instance, or the start of this instance if none has ended.
        public var endedAt: Timestamp
        /// Result of that run.
        public var result: TaskRecord.Result
        public var isRunning: Bool
    }

    /// The status of every task, as of the last look at the ledger.
    public var statuses: [Status] {
        let records = self.records.withLock { $0 }
        return self.tasks.map { task in
            let record = records[task.name.rawValue]
            return Status(
                name: task.name, interval: task.interval, endedAt: record?.ended?.at ?? self.startedAt,
                result: record?.ended?.result ?? .init(milliseconds: 0, problems: 0), isRunning: record?.isRunning ?? false)
        }
    }

    /// Begins due tasks until the Swift task is canceled. Returns when the tasks that were begun have ended. Without an enabled
    /// task the ledger is not read at all.
    public func run() async {
        let enabled = self.tasks.filter { $0.interval > 0 }
        guard let shortest = enabled.map(\.interval).min() else { return }
        let pause = Duration.seconds(max(1, min(Self.longestPause, shortest / 10)))
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                await self.look()
                for task in enabled where self.isDue(task) {
                    guard self.running.withLock({ $0.insert(task.name).inserted }) else { continue }
                    group.addTask {
                        await self.perform(task)
                        self.running.withLock { _ = $0.remove(task.name) }
                    }
                }
                do { try await Task.sleep(for: pause) } catch { return }
            }
        }
    }

    /// Reads the ledger.
    private func look() async {
        do throws(StoreError) {
            let records = try await self.ledger.tasks()
            self.records.withLock { known in
                known = Dictionary(records.map { ($0.name, $0) }) { first, _ in first }
            }
        } catch {
            guard let count = self.failureLog.add() else { return }
            self.logger.warning(
                "Ledger of scheduled tasks cannot be read; will retry",
                metadata: ["error": "\(error)", "failures": .stringConvertible(count)])
        }
    }

    private func isDue(_ task: ScheduledTask) -> Bool {
        self.records.withLock { $0[task.name.rawValue] }?.isDue(interval: task.interval) ?? true
    }

    /// Begins a run in the ledger, runs the task, and stores the result. Does nothing if another instance was first.
    private func perform(_ task: ScheduledTask) async {
        let start = ContinuousClock.now
        do throws(StoreError) {
            let run = try await self.ledger.begin(
                task.name, interval: task.interval, lease: self.lease, instance: self.instance)
            guard let run else { return }
            guard let outcome = await self.runWithLease(task, run) else {
                self.logger.notice(
                    "Scheduled task lost its lease; it will run again", metadata: ["task": "\(task.name.rawValue)"])
                return
            }
            var result = TaskRecord.Result(milliseconds: Int64((ContinuousClock.now - start) / .milliseconds(1)), problems: 0)
            switch outcome {
            case .success(let problems): result.problems = problems
            case .failure(let error): result.failure = "\(error)"
            }
            if result.failure != nil, Task.isCancelled {
                try await self.giveBack(task.name, run)
                return
            }
            try await self.ledger.end(task.name, run: run, result)
            self.log(task, result)
            await self.look()
        } catch {
            self.logger.warning(
                "Run of scheduled task cannot be recorded; it will run again",
                metadata: ["task": "\(task.name.rawValue)", "error": "\(error)"])
        }
    }

    /// Interrupts a run of an instance that stops, so that another instance begins it at once.
    private func giveBack(_ task: ScheduledTask.Name, _ run: Int64) async throws(StoreError) {
        let ledger = self.ledger
        // In a task of its own, because this one is canceled.
        let result = await Task { () async -> Result<Void, StoreError> in
            do throws(StoreError) {
                _ = try await ledger.extend(task, run: run, lease: 0)
                return .success(())
            } catch {
                return .failure(error)
            }
        }.value
        try result.get()
    }

    /// Runs the task, and extends its lease meanwhile.
    /// - Returns: the result of the task; `nil` if the lease was lost, in which case the task was canceled.
    private func runWithLease(_ task: ScheduledTask, _ run: Int64) async -> Result<Int, any Error>? {
        await withTaskGroup(of: Result<Int, any Error>?.self) { group in
            group.addTask {
                do { return .success(try await task.run()) } catch { return .failure(error) }
            }
            group.addTask {
                await self.keepLease(task.name, run)
                return nil
            }
            var first = await group.next() ?? nil
            // If this instance stops, the lease is given back only after the task has ended.
            if first == nil, Task.isCancelled { first = await group.next() ?? nil }
            group.cancelAll()
            return first
        }
    }

    /// Extends a lease until it is lost or the Swift task is canceled. While the store is unavailable the lease counts as held
    /// until it has expired.
    private func keepLease(_ task: ScheduledTask.Name, _ run: Int64) async {
        var held = ContinuousClock.now
        while true {
            do { try await Task.sleep(for: .milliseconds(self.lease * 1_000 / 3)) } catch { return }
            do throws(StoreError) {
                guard try await self.ledger.extend(task, run: run, lease: self.lease) else { return }
                held = .now
            } catch {
                if ContinuousClock.now - held > .seconds(self.lease) { return }
            }
        }
    }

    private func log(_ task: ScheduledTask, _ result: TaskRecord.Result) {
        let metadata: Logger.Metadata = [
            "task": "\(task.name.rawValue)", "seconds": "\(Double(result.milliseconds) / 1_000)",
            "problems": .stringConvertible(result.problems),
        ]
        if let failure = result.failure {
            self.logger.warning("Scheduled task failed", metadata: metadata.merging(["error": "\(failure)"]) { $1 })
        } else {
            // Retention runs every minute.
            self.logger.log(
                level: task.name == .retention ? .debug : .info, "Scheduled task ended", metadata: metadata)
        }
    }
}
