import DequeModule
import Foundation
import Synchronization

/// Threads for work that would hold up the event loops: reading, packing and unpacking bulk data. They yield to the threads that
/// serve streams (a higher nice value).
///
/// A task prefers it by `Task(executorPreference:)` or `withTaskExecutorPreference`.
public final class WorkerPool: TaskExecutor {
    private struct State: ~Copyable {
        var jobs: Deque<UnownedJob> = []
        var isClosed = false
    }

    /// nice(1): what has to wait when the cores are busy.
    private static let niceness: Int32 = 5

    private let state = Mutex(State())
    private let available = DispatchSemaphore(value: 0)
    private let threads: Int

    /// - Parameter threads: as many as there are cores, if the work is to use them all.
    public init(threads: Int) {
        self.threads = threads
        for number in 0..<threads {
            let thread = Thread { [self] in self.work() }
            thread.name = "flowhub-bulk-\(number)"
            thread.stackSize = 1_048_576
            thread.start()
        }
    }

    /// Ends the threads once they have nothing to do. What is handed in afterwards is never run.
    public func close() {
        self.state.withLock { $0.isClosed = true }
        for _ in 0..<self.threads { self.available.signal() }
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.state.withLock { $0.jobs.append(job) }
        self.available.signal()
    }

    private func work() {
        // On Linux the priority is a thread's own.
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Self.niceness)
        while let job = self.nextJob() { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }

    /// Waits for a job; `nil` when the pool is closed and has none.
    private func nextJob() -> UnownedJob? {
        while true {
            self.available.wait()
            let (job, isClosed) = self.state.withLock { ($0.jobs.popFirst(), $0.isClosed) }
            if job != nil || isClosed { return job }
        }
    }
}
