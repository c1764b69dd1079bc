import Synchronization
import Testing

@testable import FlowHTTP

@Suite struct QueuedBytesBudgetTests {
    @Test func findsLargestLoopAndRequestsSheddingOnce() {
        let budget = QueuedBytesBudget()
        let requests = Mutex<[String]>([])
        let first = budget.register { requests.withLock { $0.append("first") } }
        let second = budget.register { requests.withLock { $0.append("second") } }
        #expect(budget.larger(than: 0) == nil)
        first.setLargest(10)
        second.setLargest(30)
        #expect(budget.larger(than: 10) === second)
        #expect(budget.larger(than: 30) == nil, "a loop with no larger stream was asked to shed")
        // Measured again, its largest stream has fewer bytes.
        second.setLargest(5)
        #expect(budget.larger(than: 5) === first)
        first.requestShedding()
        first.requestShedding()
        #expect(requests.withLock { $0 } == ["first"])
        first.sheddingStarted()
        first.requestShedding()
        #expect(requests.withLock { $0 } == ["first", "first"])
    }
}
