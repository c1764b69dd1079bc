import DequeModule
import Foundation
import Synchronization

/// Threads for work that would block the event loops: parsing, compressing and decompressing bulk data. They have a
/// lower priority (a higher nice value) than the threads that serve streams.
///
/// A task selects the pool with `Task(executorPreference:)` or `withTaskExecutorPreference`.
public final class WorkerPool: TaskExecutor {
    private struct State: ~Copyable {
        var jobs: Deque<UnownedJob> = []
        var isClosed = false
    }

    /// Nice value of the threads; see nice(1).
    private static let niceness: Int32 = 5

    private let state = Mutex(State())
    private let available = DispatchSemaphore(value: 0)
    private let threads: Int

    /// - Parameter threads: number of threads. The number of cores lets the work use all of them.
    public init(threads: Int) {
        self.threads = threads
        for number in 0..<threads {
            let thread = Thread { [self] in self.work() }
            thread.name = "flowhub-bulk-\(number)"
            thread.stackSize = 1_048_576
            thread.start()
        }
    }

    /// Ends the threads after the enqueued jobs. Jobs that are enqueued later do not run.
    public func close() {
        self.state.withLock { $0.isClosed = true }
        for _ in 0..<self.threads { self.available.signal() }
    }

    /// Enqueues a job of a task. The Swift runtime calls this.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.state.withLock { $0.jobs.append(job) }
        self.available.signal()
    }

    /// Runs jobs until the pool is closed and no job is enqueued. Each thread executes this function.
    private func work() {
        // On Linux, the priority applies to the calling thread only.
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Self.niceness)
        while let job = self.nextJob() { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }

    /// Waits for a job.
    /// - Returns: the next job; `nil` if the pool is closed and no job is enqueued.
    private func nextJob() -> UnownedJob? {
        while true {
            self.available.wait()
            let (job, isClosed) = self.state.withLock { ($0.jobs.popFirst(), $0.isClosed) }
            if job != nil || isClosed { return job }
        }
    }
}
