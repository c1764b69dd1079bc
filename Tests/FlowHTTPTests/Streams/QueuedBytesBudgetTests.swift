import Synchronization
import Testing

@testable import FlowHTTP

@Suite struct QueuedBytesBudgetTests {
    @Test func theLoopWithTheLargestIsFoundAndAskedOnce() {
        let ledger = QueuedBytesBudget()
        let asked = Mutex<[String]>([])
        let first = ledger.open { asked.withLock { $0.append("first") } }
        let second = ledger.open { asked.withLock { $0.append("second") } }
        #expect(ledger.larger(than: 0) == nil)
        first.note(10)
        second.note(30)
        second.note(20)
        #expect(ledger.larger(than: 10) === second)
        #expect(ledger.larger(than: 30) == nil, "nobody is asked for as much as the asker has")
        // Looked at anew, it has less.
        second.set(5)
        #expect(ledger.larger(than: 5) === first)
        first.ask()
        first.ask()
        #expect(asked.withLock { $0 } == ["first"])
        first.asked()
        first.ask()
        #expect(asked.withLock { $0 } == ["first", "first"])
    }
}
