import FlowCore
import Synchronization

/// Counts the requests about locks and mapping patterns that were rejected because of a limit. Safe to use from any task.
final class LimitCounters: Sendable {
    /// The limits whose rejections are counted. Raw values are labels of the metric.
    enum Limit: String, CaseIterable {
        case accountLocks = "account_locks"
        case locks
        case patterns
    }

    private let counts = Mutex<[Limit: Int]>([:])

    func add(_ limit: Limit) { self.counts.withLock { $0[limit, default: 0] += 1 } }

    /// The rejections of every limit, in the order of the cases.
    var values: [(String, Int)] {
        self.counts.withLock { counts in Limit.allCases.map { ($0.rawValue, counts[$0] ?? 0) } }
    }
}
