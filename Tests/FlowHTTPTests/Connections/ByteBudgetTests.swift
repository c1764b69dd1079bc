import Testing

@testable import FlowHTTP

@Suite struct ByteBudgetTests {
    @Test func limitsEachAccountAndTheTotal() {
        let budget = ByteBudget(limit: 100, accountLimit: 60)
        #expect(budget.hold(60, of: "a") == nil)
        #expect(budget.hold(1, of: "a") == .account)
        #expect(budget.excess(adding: 41, of: "b") == .total)
        #expect(budget.hold(41, of: "b") == .total)
        #expect(budget.hold(40, of: "b") == nil)
        #expect(budget.bytes == 100)
        budget.release(60, of: "a")
        #expect(budget.bytes == 40)
        #expect(budget.hold(60, of: "a") == nil)
        #expect(budget.excesses == (account: 1, total: 1))
    }

    @Test func admitsBytesAboveLimitIfNothingElseIsHeld() {
        let budget = ByteBudget(limit: 100, accountLimit: 60)
        #expect(budget.hold(500, of: "a") == nil)
        #expect(budget.hold(1, of: "a") == .account)
        #expect(budget.hold(1, of: "b") == .total)
        budget.release(500, of: "a")
        #expect(budget.hold(61, of: "b") == nil)
    }

    @Test func countsBytesThatAreInMemoryAnyway() {
        let budget = ByteBudget(limit: 100, accountLimit: 60)
        budget.change(by: 200, of: "a")
        #expect(budget.bytes == 200)
        #expect(budget.excess(adding: 0, of: "a") == .account)
        #expect(budget.excess(adding: 0, of: "b") == .total)
        budget.change(by: -200, of: "a")
        #expect(budget.bytes == 0)
        #expect(budget.excess(adding: 60, of: "a") == nil)
    }
}
