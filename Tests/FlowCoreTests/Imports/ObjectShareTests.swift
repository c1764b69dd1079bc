import Testing

@testable import FlowCore

/// Which new imports are stored as objects (`FLOWHUB_R2_SHARE`).
@Suite struct ObjectShareTests {
    private static func id(_ number: Int) throws -> ImportID {
        let digits = String(number, radix: 16)
        return try #require(ImportID("00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits))
    }

    @Test func higherShareKeepsImportsOfLowerOne() throws {
        for number in 0..<2_000 {
            let id = try Self.id(number)
            let shares = (0...100).filter { ObjectShare.includes(id, account: "7", percent: $0) }
            #expect(shares.first.map { Array($0...100) } == shares)
            #expect(!ObjectShare.includes(id, account: "7", percent: 0) && ObjectShare.includes(id, account: "7", percent: 100))
        }
    }

    @Test func shareIsOfImportsOfEveryAccount() throws {
        let ids = try (0..<10_000).map { try Self.id($0) }
        for account in ["0", "7", "acme"] {
            for percent in [1, 10, 50, 90] {
                let count = ids.count { ObjectShare.includes($0, account: account, percent: percent) }
                #expect(abs(count - percent * 100) < 300, "\(count) of 10,000 at \(percent) %")
            }
        }
        #expect(
            ids.contains {
                ObjectShare.includes($0, account: "7", percent: 50) != ObjectShare.includes($0, account: "8", percent: 50)
            })
    }

    /// Every instance and every release must choose alike.
    @Test func choiceIsTheSameInEveryRelease() throws {
        let chosen = try (0..<40).filter { ObjectShare.includes(try Self.id($0), account: "7", percent: 50) }
        #expect(chosen == [1, 3, 4, 8, 10, 13, 19, 23, 31, 33, 38, 39])
    }
}
