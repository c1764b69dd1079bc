import Synchronization

/// What waits for slow peers, over all event loops: the sum, and the largest of each loop, so that it is the largest of all that
/// goes when the memory for them is used up. Safe to use from any thread.
final class QueuedBytesBudget: Sendable {
    /// The page of one event loop.
    final class LoopShare: Sendable {
        fileprivate let largest = Atomic<Int>(0)
        private let isAsked = Atomic<Bool>(false)
        private let relieve: @Sendable () -> Void

        fileprivate init(relieve: @escaping @Sendable () -> Void) { self.relieve = relieve }

        /// Asks the loop to let its largest go; once until it does.
        func ask() {
            if !self.isAsked.exchange(true, ordering: .relaxed) { self.relieve() }
        }

        func asked() { self.isAsked.store(false, ordering: .relaxed) }

        /// A stream of the loop holds so much. It may be out of date upwards: the loop looks again when it is asked.
        func note(_ bytes: Int) {
            if bytes > self.largest.load(ordering: .relaxed) { self.largest.store(bytes, ordering: .relaxed) }
        }

        func set(_ bytes: Int) { self.largest.store(bytes, ordering: .relaxed) }
    }

    private let sum = Atomic<Int>(0)
    private let accounts = Mutex<[LoopShare]>([])

    var bytes: Int { self.sum.load(ordering: .relaxed) }
    func changed(by bytes: Int) { self.sum.add(bytes, ordering: .relaxed) }

    /// - Parameter relieve: called from any thread, when the loop should let streams go.
    func open(relieve: @escaping @Sendable () -> Void) -> LoopShare {
        let account = LoopShare(relieve: relieve)
        self.accounts.withLock { $0.append(account) }
        return account
    }

    /// The loop whose largest stream holds more than this.
    func larger(than bytes: Int) -> LoopShare? {
        let largest = self.accounts.withLock { $0 }.max {
            $0.largest.load(ordering: .relaxed) < $1.largest.load(ordering: .relaxed)
        }
        return largest.flatMap { $0.largest.load(ordering: .relaxed) > bytes ? $0 : nil }
    }
}
