import Synchronization

/// The queued bytes of the streams of all event loops: the sum, and the largest stream of each loop. With these, shedding finds
/// the stream with the most queued bytes of all. Safe to use from any thread.
final class QueuedBytesBudget: Sendable {
    /// What the budget stores for one event loop: the queued bytes of the loop's largest stream (the stream with the most
    /// queued bytes), and whether the loop was requested to shed streams. The sum of all queued bytes is not in it, but in the
    /// ``QueuedBytesBudget``.
    final class LoopShare: Sendable {
        /// Queued bytes of the loop's largest stream.
        fileprivate let largest = Atomic<Int>(0)
        private let isSheddingRequested = Atomic<Bool>(false)
        private let shed: @Sendable () -> Void

        fileprivate init(shed: @escaping @Sendable () -> Void) { self.shed = shed }

        /// Requests that the event loop sheds streams. Further calls have no effect until the loop calls ``sheddingStarted()``.
        func requestShedding() {
            if !self.isSheddingRequested.exchange(true, ordering: .relaxed) { self.shed() }
        }

        /// Called by the loop when it starts to shed streams: the next ``requestShedding()`` has an effect again.
        func sheddingStarted() { self.isSheddingRequested.store(false, ordering: .relaxed) }

        /// Sets ``largest`` to the queued bytes of the loop's largest stream.
        func setLargest(_ bytes: Int) { self.largest.store(bytes, ordering: .relaxed) }
    }

    private let sum = Atomic<Int>(0)
    private let loopShares = Mutex<[LoopShare]>([])

    /// The queued bytes of all streams.
    var bytes: Int { self.sum.load(ordering: .relaxed) }
    /// Adds the change of a stream's queued bytes to the sum. The change is negative if the stream has fewer queued bytes than
    /// before.
    func changed(by bytes: Int) { self.sum.add(bytes, ordering: .relaxed) }

    /// Creates the ``LoopShare`` of one event loop.
    /// - Parameter shed: called on any thread when the loop must shed streams.
    func register(shed: @escaping @Sendable () -> Void) -> LoopShare {
        let loopShare = LoopShare(shed: shed)
        self.loopShares.withLock { $0.append(loopShare) }
        return loopShare
    }

    /// The ``LoopShare`` of the event loop that has the largest stream of all loops; `nil` if the queued bytes of this stream
    /// are at most `bytes`.
    func larger(than bytes: Int) -> LoopShare? {
        let largest = self.loopShares.withLock { $0 }.max {
            $0.largest.load(ordering: .relaxed) < $1.largest.load(ordering: .relaxed)
        }
        return largest.flatMap { $0.largest.load(ordering: .relaxed) > bytes ? $0 : nil }
    }
}
