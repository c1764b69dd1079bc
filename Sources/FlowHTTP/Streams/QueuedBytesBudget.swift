import Synchronization

/// What waits for slow peers, over all event loops: the sum, and the largest of each loop, so that it is the largest of all that
/// goes when the memory for them is used up. Safe to use from any thread.
final class QueuedBytesBudget: Sendable {
    /// The page of one event loop.
    final class LoopShare: Sendable {
        fileprivate let largest = Atomic<Int>(0)
        private let isSheddingRequested = Atomic<Bool>(false)
        private let shed: @Sendable () -> Void

        fileprivate init(shed: @escaping @Sendable () -> Void) { self.shed = shed }

        /// Asks the loop to let its largest go; once until it does.
        func requestShedding() {
            if !self.isSheddingRequested.exchange(true, ordering: .relaxed) { self.shed() }
        }

        func sheddingStarted() { self.isSheddingRequested.store(false, ordering: .relaxed) }

        /// A stream of the loop holds so much. It may be out of date upwards: the loop looks again when it is asked.
        func raiseLargest(_ bytes: Int) {
            if bytes > self.largest.load(ordering: .relaxed) { self.largest.store(bytes, ordering: .relaxed) }
        }

        func setLargest(_ bytes: Int) { self.largest.store(bytes, ordering: .relaxed) }
    }

    private let sum = Atomic<Int>(0)
    private let loopShares = Mutex<[LoopShare]>([])

    var bytes: Int { self.sum.load(ordering: .relaxed) }
    func changed(by bytes: Int) { self.sum.add(bytes, ordering: .relaxed) }

    /// - Parameter shed: called from any thread, when the loop should let streams go.
    func register(shed: @escaping @Sendable () -> Void) -> LoopShare {
        let loopShare = LoopShare(shed: shed)
        self.loopShares.withLock { $0.append(loopShare) }
        return loopShare
    }

    /// The loop whose largest stream holds more than this.
    func larger(than bytes: Int) -> LoopShare? {
        let largest = self.loopShares.withLock { $0 }.max {
            $0.largest.load(ordering: .relaxed) < $1.largest.load(ordering: .relaxed)
        }
        return largest.flatMap { $0.largest.load(ordering: .relaxed) > bytes ? $0 : nil }
    }
}
