import Synchronization

/// The queued bytes of the streams of all event loops: the sum, and the largest stream of each loop. With these, shedding finds
/// the stream with the most queued bytes of all. Safe to use from any thread.
final class QueuedBytesBudget: Sendable {
    /// The part of one event loop: the queued bytes of its largest stream, and a request to shed it.
    final class LoopShare: Sendable {
        fileprivate let largest = Atomic<Int>(0)
        private let isSheddingRequested = Atomic<Bool>(false)
        private let shed: @Sendable () -> Void

        fileprivate init(shed: @escaping @Sendable () -> Void) { self.shed = shed }

        /// Requests that the event loop sheds its largest stream. Further calls have no effect until shedding starts.
        func requestShedding() {
            if !self.isSheddingRequested.exchange(true, ordering: .relaxed) { self.shed() }
        }

        /// Allows the next request.
        func sheddingStarted() { self.isSheddingRequested.store(false, ordering: .relaxed) }

        /// Raises ``largest`` to the queued bytes of a stream, if they are more. The value stays too high when that queue
        /// shrinks later; the loop measures again when it sheds.
        func raiseLargest(_ bytes: Int) {
            if bytes > self.largest.load(ordering: .relaxed) { self.largest.store(bytes, ordering: .relaxed) }
        }

        /// Sets ``largest`` to a measured value.
        func setLargest(_ bytes: Int) { self.largest.store(bytes, ordering: .relaxed) }
    }

    private let sum = Atomic<Int>(0)
    private let loopShares = Mutex<[LoopShare]>([])

    /// The queued bytes of all streams.
    var bytes: Int { self.sum.load(ordering: .relaxed) }
    /// Adds the change of a stream's queued bytes, negative if the queue has shrunk.
    func changed(by bytes: Int) { self.sum.add(bytes, ordering: .relaxed) }

    /// Creates the share of one event loop.
    /// - Parameter shed: called on any thread when the loop must shed streams.
    func register(shed: @escaping @Sendable () -> Void) -> LoopShare {
        let loopShare = LoopShare(shed: shed)
        self.loopShares.withLock { $0.append(loopShare) }
        return loopShare
    }

    /// The share of the event loop whose stream has the most queued bytes; `nil` if these are at most `bytes`.
    func larger(than bytes: Int) -> LoopShare? {
        let largest = self.loopShares.withLock { $0 }.max {
            $0.largest.load(ordering: .relaxed) < $1.largest.load(ordering: .relaxed)
        }
        return largest.flatMap { $0.largest.load(ordering: .relaxed) > bytes ? $0 : nil }
    }
}
