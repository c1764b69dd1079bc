public import FlowCore
import Testing

/// Contract tests that every ``MappingPatternStore`` passes. They use the real clock.
public enum MappingPatternStoreContract {
    /// A case gets an empty store.
    public typealias Case = ContractCase<any MappingPatternStore>

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
        Case("another account cannot read, replace or remove a mapping pattern until it is removed") { store in
            let written = try Self.mapping("1")
            #expect(try await store.put(written, key: "k", account: "1", seconds: Self.long))
            #expect(try await store.pattern("k", account: "2") == nil)
            await #expect(throws: MappingPatternError.otherAccount) {
                try await store.put(try Self.mapping("2"), key: "k", account: "2", seconds: Self.long)
            }
            #expect(try await store.remove("k", account: "2") == false)
            #expect(try await store.pattern("k", account: "1") == written)
            #expect(try await store.remove("k", account: "1"))
            #expect(try await store.remove("k", account: "1") == false)
            #expect(try await store.put(try Self.mapping("2"), key: "k", account: "2", seconds: Self.long))
            #expect(try await store.pattern("k", account: "1") == nil)
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
            #expect(try await store.put(written, key: "shortened", account: "2", seconds: Self.long))
        },
        Case("exactly one of many concurrent accounts gets the key") { store in
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
            let winner = try #require(winners.first)
            #expect(winners.count == 1)
            #expect(try await store.pattern("k", account: winner) == Self.mapping(winner))
        },
    ]
}
