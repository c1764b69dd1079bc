import FlowCore
import Testing

@Suite struct FairQueueTests {
    /// Removes up to `count` elements, whose numbers are their costs.
    private static func taken(_ count: Int, from queue: inout FairQueue<(String, Int)>) -> [String] {
        (0..<count).compactMap { _ in queue.next { $0.1 }?.element.0 }
    }

    @Test func anAccountsElementsKeepTheirOrder() {
        var queue = FairQueue<(String, Int)>(turnCost: 10)
        for number in 0..<50 { queue.add(("\(number)", number), of: "a") }
        #expect(Self.taken(60, from: &queue) == (0..<50).map { "\($0)" })
        #expect(queue.isEmpty)
    }

    @Test func anElementWaitsForABoundedCostOfOtherAccounts() {
        var queue = FairQueue<(String, Int)>(turnCost: 10)
        for _ in 0..<1_000 { queue.add(("large", 100), of: "a") }
        queue.add(("small", 1), of: "b")
        let order = Self.taken(3, from: &queue)
        #expect(order.contains("small"), "\(order)")
    }

    @Test func accountsShareTheCostAndNotTheNumber() {
        var queue = FairQueue<(String, Int)>(turnCost: 10)
        for _ in 0..<1_000 {
            queue.add(("large", 100), of: "a")
            queue.add(("small", 1), of: "b")
        }
        let order = Self.taken(1_010, from: &queue)
        let large = order.filter { $0 == "large" }.count
        #expect((8...12).contains(large), "\(large)")
    }

    @Test func anElementBeyondTheBudgetStays() {
        var queue = FairQueue<(String, Int)>(turnCost: 10)
        queue.add(("large", 100), of: "a")
        #expect(queue.next(within: 99) { $0.1 } == nil)
        #expect(!queue.isEmpty)
        #expect(queue.next(within: 100) { $0.1 }?.cost == 100)
        #expect(queue.isEmpty)
    }
}
