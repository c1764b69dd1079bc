import Testing

@testable import FlowCore

@Suite struct ImportLimiterTests {
    private static func refusal(_ slots: ImportLimiter, _ account: String) -> String? {
        do throws(ImportError) {
            try slots.enter(account)
            return nil
        } catch {
            return switch error {
            case .busy(let limit): "all \(limit)"
            case .accountBusy(let limit): "own \(limit)"
            default: "\(error)"
            }
        }
    }

    @Test func `where one account may have all of them only that limit counts`() {
        let slots = ImportLimiter(limit: 1, accountLimit: 1)
        #expect(Self.refusal(slots, "a") == nil)
        #expect(Self.refusal(slots, "a") == "all 1")
    }

    @Test func `an account's own limit follows the one for all, until it is set`() {
        var configuration = ImportConfiguration()
        #expect(configuration.maximumAccountImports == 3)
        configuration.maximumImports = 20
        #expect(configuration.maximumAccountImports == 19)
        configuration.maximumImports = 1
        #expect(configuration.maximumAccountImports == 1)
        configuration.maximumAccountImports = 7
        #expect(configuration.maximumAccountImports == 7)
    }

    @Test func `one account leaves room for others`() {
        let slots = ImportLimiter(limit: 3, accountLimit: 2)
        #expect(slots.isEmpty)
        #expect(Self.refusal(slots, "a") == nil)
        #expect(Self.refusal(slots, "a") == nil)
        #expect(Self.refusal(slots, "a") == "own 2")
        #expect(Self.refusal(slots, "b") == nil)
        #expect(Self.refusal(slots, "b") == "all 3")
        // Its own limit is what it can do something about.
        #expect(Self.refusal(slots, "a") == "own 2")
        slots.leave("a")
        #expect(Self.refusal(slots, "b") == nil)
        #expect(Self.refusal(slots, "a") == "all 3")
        for account in ["a", "b", "b"] { slots.leave(account) }
        #expect(slots.isEmpty)
        #expect(Self.refusal(slots, "a") == nil)
        #expect(Self.refusal(slots, "a") == nil)
    }
}
