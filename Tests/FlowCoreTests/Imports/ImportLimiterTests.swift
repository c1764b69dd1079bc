import Testing

@testable import FlowCore

@Suite struct ImportLimiterTests {
    private static func rejection(_ limiter: ImportLimiter, _ account: String) -> String? {
        do throws(ImportError) {
            try limiter.acquire(account)
            return nil
        } catch {
            return switch error {
            case .busy(let limit): "all \(limit)"
            case .accountBusy(let limit): "own \(limit)"
            default: "\(error)"
            }
        }
    }

    @Test func totalLimitAppliesIfAccountLimitIsEqual() {
        let limiter = ImportLimiter(limit: 1, accountLimit: 1)
        #expect(Self.rejection(limiter, "a") == nil)
        #expect(Self.rejection(limiter, "a") == "all 1")
    }

    @Test func accountLimitFollowsTotalLimitUntilSet() {
        var configuration = ImportConfiguration()
        #expect(configuration.maximumAccountImports == 3)
        configuration.maximumImports = 20
        #expect(configuration.maximumAccountImports == 19)
        configuration.maximumImports = 1
        #expect(configuration.maximumAccountImports == 1)
        configuration.maximumAccountImports = 7
        #expect(configuration.maximumAccountImports == 7)
    }

    @Test func accountLimitLeavesRoomForOtherAccounts() {
        let limiter = ImportLimiter(limit: 3, accountLimit: 2)
        #expect(limiter.isIdle)
        #expect(Self.rejection(limiter, "a") == nil)
        #expect(Self.rejection(limiter, "a") == nil)
        #expect(Self.rejection(limiter, "a") == "own 2")
        #expect(Self.rejection(limiter, "b") == nil)
        #expect(Self.rejection(limiter, "b") == "all 3")
        // Both limits are reached: the account's own limit is reported, since the account can act on it.
        #expect(Self.rejection(limiter, "a") == "own 2")
        limiter.release("a")
        #expect(Self.rejection(limiter, "b") == nil)
        #expect(Self.rejection(limiter, "a") == "all 3")
        for account in ["a", "b", "b"] { limiter.release(account) }
        #expect(limiter.isIdle)
        #expect(Self.rejection(limiter, "a") == nil)
        #expect(Self.rejection(limiter, "a") == nil)
    }
}
