import NIOCore

/// Runs the tasks of ordinary requests on the event loop of their connection, so that a request that does not suspend is
/// answered without a change of threads. Handlers must not block: long work runs on another executor.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    /// Runs a job on the event loop, after the work that is already queued there.
    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
