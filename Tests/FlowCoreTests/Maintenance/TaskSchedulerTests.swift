import Logging
import Synchronization
import Testing

@testable import FlowCore

@Suite struct TaskSchedulerTests {
    /// A ledger with the task of one name, which never becomes due by its age.
    final class Ledger: TaskLedger {
        struct State {
            var run: Int64 = 0
            var isRunning = false
            var isInterrupted = false
            var result: TaskRecord.Result?
            var givenBack = 0
            var loses = false
            var failure: StoreError?
        }

        let state = Mutex(State())

        func tasks() async throws(StoreError) -> [TaskRecord] {
            let state = self.state.withLock { $0 }
            if let failure = state.failure { throw failure }
            guard state.run > 0 else { return [] }
            return [
                TaskRecord(
                    name: "retention", run: state.run, instance: "i", age: 0, isRunning: state.isRunning,
                    isInterrupted: state.isInterrupted,
                    ended: state.result.map { (at: Timestamp(milliseconds: 5_000), result: $0) })
            ]
        }

        func begin(
            _ task: ScheduledTask.Name, interval: Int, lease: Int, instance: String
        ) async throws(StoreError) -> Int64? {
            self.state.withLock { state in
                guard !state.isRunning, state.run == 0 || state.isInterrupted else { return nil }
                state.run += 1
                (state.isRunning, state.isInterrupted) = (true, false)
                return state.run
            }
        }

        func extend(_ task: ScheduledTask.Name, run: Int64, lease: Int) async throws(StoreError) -> Bool {
            self.state.withLock { state in
                guard state.run == run, !state.loses else { return false }
                if lease == 0 {
                    state.givenBack += 1
                    (state.isRunning, state.isInterrupted) = (false, true)
                }
                return true
            }
        }

        func end(
            _ task: ScheduledTask.Name, run: Int64, _ result: TaskRecord.Result
        ) async throws(StoreError) -> Bool {
            self.state.withLock { state in
                guard state.run == run else { return false }
                state.result = result
                state.isRunning = false
                return true
            }
        }
    }

    private struct Failure: Error, CustomStringConvertible { let description = "broken" }

    private static func scheduler(
        _ ledger: Ledger, interval: Int = 1, lease: Int = 60, _ body: @escaping @Sendable () async throws -> Int
    ) -> TaskScheduler {
        TaskScheduler(
            [ScheduledTask(.retention, interval: interval, run: body)], ledger: ledger, instance: "i", lease: lease,
            now: Timestamp(milliseconds: 1_000), logger: Logger(label: "test"))
    }

    /// Runs the scheduler until the condition holds.
    private static func running(_ scheduler: TaskScheduler, until condition: () -> Bool) async {
        let task = Task { await scheduler.run() }
        while !condition() { await Task.yield() }
        task.cancel()
        await task.value
    }

    @Test func dueTaskRunsOnceAndItsResultIsRecorded() async {
        let ledger = Ledger()
        let counter = Counter()
        let scheduler = Self.scheduler(ledger) {
            counter.add(); return 3
        }
        #expect(scheduler.statuses.map(\.endedAt) == [Timestamp(milliseconds: 1_000)])
        await Self.running(scheduler) { ledger.state.withLock { $0.result != nil } && scheduler.statuses[0].result.problems == 3 }
        #expect(counter.value == 1)
        let status = scheduler.statuses[0]
        #expect(status.endedAt == Timestamp(milliseconds: 5_000) && status.result.failure == nil && !status.isRunning)
    }

    @Test func failureOfTaskIsRecorded() async {
        let ledger = Ledger()
        await Self.running(Self.scheduler(ledger) { throw Failure() }) { ledger.state.withLock { $0.result != nil } }
        #expect(ledger.state.withLock { $0.result?.failure } == "broken")
    }

    @Test func disabledTaskNeverReadsLedger() async {
        let ledger = Ledger()
        ledger.state.withLock { $0.failure = .unavailable("test") }
        let scheduler = Self.scheduler(ledger, interval: 0) { 0 }
        await scheduler.run()
        #expect(scheduler.statuses[0].interval == 0)
    }

    @Test func stoppingInstanceGivesItsRunBack() async {
        let ledger = Ledger()
        let counter = Counter()
        let scheduler = Self.scheduler(ledger) {
            counter.add()
            // Ends by the cancellation only.
            try await Task.sleep(for: .seconds(3_600))
            return 0
        }
        await Self.running(scheduler) { counter.value == 1 }
        #expect(ledger.state.withLock { $0.givenBack == 1 && $0.result == nil })
        // Another instance begins the run at once, although the interval has not passed.
        let other = Counter()
        await Self.running(
            Self.scheduler(ledger) {
                other.add(); return 0
            }
        ) { ledger.state.withLock { $0.result != nil } }
        #expect(other.value == 1 && ledger.state.withLock { $0.run } == 2)
    }

    @Test func lostLeaseCancelsTaskAndRecordsNothing() async {
        let ledger = Ledger()
        ledger.state.withLock { $0.loses = true }
        let canceled = Counter()
        let scheduler = Self.scheduler(ledger, lease: 1) {
            do { try await Task.sleep(for: .seconds(3_600)) } catch { canceled.add() }
            return 0
        }
        await Self.running(scheduler) { canceled.value == 1 }
        #expect(ledger.state.withLock { $0.result == nil && $0.givenBack == 0 })
    }

    @Test(arguments: [
        (false, false, 59, false), (false, false, 60, true), (true, false, 600, false), (false, true, 0, true),
        (false, false, -9, true),
    ])
    func runIsDueByAgeOrInterruption(_ isRunning: Bool, _ isInterrupted: Bool, _ age: Int64, _ isDue: Bool) {
        let record = TaskRecord(
            name: "retention", run: 1, instance: "i", age: age, isRunning: isRunning, isInterrupted: isInterrupted, ended: nil)
        #expect(record.isDue(interval: 60) == isDue)
    }

    final class Counter: Sendable {
        private let count = Atomic<Int>(0)
        var value: Int { self.count.load(ordering: .sequentiallyConsistent) }
        func add() { self.count.add(1, ordering: .sequentiallyConsistent) }
    }
}
