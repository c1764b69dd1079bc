public import FlowCore
import Testing

/// Contract tests that every ``MappingPatternStore`` passes. They use the real clock.
public enum MappingPatternStoreContract {
    /// A case gets an empty store with the limits ``limits``.
    public typealias Case = ContractCase<any MappingPatternStore>

    /// The limits that the store must have.
    public static var limits: MappingPatternLimits {
        var limits = MappingPatternLimits()
        limits.accountPatterns = 10
        limits.accountBytes = 16_384
        return limits
    }

    private static let long = 3_600

    static func mapping(_ pattern: String, _ confidence: String = "0.9") throws -> MappingPattern {
        try #require(MappingPattern(pattern: try json(pattern), confidence: try json(confidence)))
    }

    public static let cases: [Case] = [
        Case("a mapping pattern is returned as written, and a later one replaces it") { store in
            #expect(try await store.pattern("k", account: "1") == nil)
            for (pattern, confidence, isNew) in [
                (#"{"b":"\u0000é","a":1.50,"a":[1e3,-0]}"#, "0.90", true), ("null", "1", false), ("[]", "8e-1", false),
            ] {
                let written = try Self.mapping(pattern, confidence)
                #expect(try await store.put(written, key: "k", account: "1", seconds: Self.long) == isNew)
                let read = try #require(try await store.pattern("k", account: "1"))
                #expect(read == written)
                #expect(read.pattern.string == pattern && read.confidence.string == confidence)
            }
        },
        Case("keys of up to 128 bytes and all allowed characters are distinct") { store in
            let keys = [String(repeating: "k", count: 128), "...", "a:b", "a", "a:", "-", "_.:-A9"]
            for key in keys {
                let written = try Self.mapping("\"\(key)\"")
                #expect(try await store.put(written, key: key, account: "1", seconds: Self.long))
            }
            for key in keys { #expect(try await store.pattern(key, account: "1")?.pattern.stringValue == key) }
            #expect(try await store.remove("a", account: "1"))
            #expect(try await store.pattern("a", account: "1") == nil)
            #expect(try await store.pattern("a:", account: "1") != nil)
        },
        Case("mapping patterns of two accounts under the same key are independent") { store in
            for (mine, other) in [("1", "2"), ("0", "1"), ("2", "0")] {
                let key = "k-\(mine)"
                let (first, second) = (try Self.mapping("1"), try Self.mapping("2"))
                #expect(try await store.put(first, key: key, account: mine, seconds: Self.long))
                #expect(try await store.pattern(key, account: other) == nil)
                #expect(try await store.remove(key, account: other) == false)
                #expect(try await store.put(second, key: key, account: other, seconds: Self.long))
                #expect(try await store.pattern(key, account: mine) == first)
                #expect(try await store.remove(key, account: mine))
                #expect(try await store.remove(key, account: mine) == false)
                #expect(try await store.pattern(key, account: mine) == nil)
                #expect(try await store.pattern(key, account: other) == second)
            }
        },
        Case("an account over its limits loses patterns of its own only") { store in
            let others = try Self.mapping("\"theirs\"")
            #expect(try await store.put(others, key: "k0", account: "2", seconds: Self.long))
            func count(_ keys: Range<Int>) async throws -> Int {
                var count = 0
                for key in keys where try await store.pattern("k\(key)", account: "1") != nil { count += 1 }
                return count
            }
            let small = try Self.mapping("1")
            for number in 0..<12 { #expect(try await store.put(small, key: "k\(number)", account: "1", seconds: Self.long)) }
            #expect(try await count(0..<12) == Self.limits.accountPatterns)
            #expect(try await store.pattern("k11", account: "1") == small)
            #expect(store.evictions == 2)
            // A replacement needs no room.
            #expect(try await store.put(small, key: "k11", account: "1", seconds: Self.long) == false)
            #expect(store.evictions == 2)
            let large = try Self.mapping("\"" + String(repeating: "x", count: 7_000) + "\"")
            for number in 12..<20 {
                #expect(try await store.put(large, key: "k\(number)", account: "1", seconds: Self.long))
                #expect(try await store.pattern("k\(number)", account: "1") == large)
                // Two large ones fit.
                #expect(try await count(12..<20) <= 2)
            }
            #expect(try await store.pattern("k0", account: "2") == others)
            // A removed pattern makes room.
            #expect(try await store.remove("k19", account: "1"))
            let evictions = store.evictions
            #expect(try await store.put(large, key: "k20", account: "1", seconds: Self.long))
            #expect(store.evictions == evictions)
        },
        Case("a mapping pattern expires, and each write restarts its TTL") { store in
            let written = try Self.mapping("1")
            #expect(try await store.put(written, key: "kept", account: "1", seconds: 1))
            #expect(try await store.put(written, key: "kept", account: "1", seconds: Self.long) == false)
            #expect(try await store.put(written, key: "shortened", account: "1", seconds: Self.long))
            #expect(try await store.put(written, key: "shortened", account: "1", seconds: 1) == false)
            // The first write of "kept" had the same TTL and was earlier: without a restart it would have expired, too.
            try await eventually("the mapping pattern to expire") { try await store.pattern("shortened", account: "1") == nil }
            #expect(try await store.pattern("kept", account: "1") == written)
            #expect(try await store.remove("shortened", account: "1") == false)
            #expect(try await store.put(written, key: "shortened", account: "1", seconds: Self.long))
        },
        Case("each of many concurrent accounts gets the key") { store in
            let winners = await withTaskGroup(of: String?.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        let account = "\(number)"
                        guard let pattern = try? Self.mapping(account) else { return nil }
                        return (try? await store.put(pattern, key: "k", account: account, seconds: Self.long)) == true
                            ? account : nil
                    }
                }
                return await group.reduce(into: [String]()) { winners, winner in if let winner { winners.append(winner) } }
            }
            #expect(winners.count == 50)
            for winner in winners {
                let own = try Self.mapping(winner)
                #expect(try await store.pattern("k", account: winner) == own)
            }
        },
    ]
}
