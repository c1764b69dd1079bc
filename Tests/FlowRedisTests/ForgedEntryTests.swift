import FlowCore
import FlowTestKit
import Foundation
import Synchronization
import Testing

@testable import FlowRedis

/// Entries in Redis that another program has forged, changed, copied or written back. The hub decides nothing by them.
@Suite(.serialized, .redis()) struct ForgedEntryTests {
    private static func running(_ body: (RedisServices, RedisServer) async throws -> Void) async throws {
        try await SharedRedis.flush()
        let server = try SharedRedis.server
        try await withServices(server.url) { try await body($0, server) }
    }

    private static func mapping(_ text: String) throws -> MappingPattern {
        try #require(
            MappingPattern(
                pattern: try JSONText(validating: Array(text.utf8)), confidence: try JSONText(validating: Array("0.9".utf8))))
    }

    /// A fencing sequence that starts above what a double can count.
    private final class HighSequence: FencingSequence {
        private let last = Atomic<Int64>(9_007_199_254_740_992)

        func nextFencingToken() async throws(StoreError) -> Int64 { self.last.add(1, ordering: .relaxed).newValue }
    }

    private struct BrokenSequence: FencingSequence {
        func nextFencingToken() async throws(StoreError) -> Int64 { throw .unavailable("away") }
    }

    // MARK: Locks

    @Test(arguments: ["0", "7"]) func forgedFencingTokenReachesNobody(_ account: String) async throws {
        try await Self.running { services, server in
            let locks = services.locks(fencing: CountingSequence())
            let key = account == "0" ? "lock:r" : "lock:7/r"
            let lease = try await locks.acquire("r", account: account, seconds: 60, now: now())
            let genuine = try await server.command(["GET", key])
            #expect(genuine.contains("\"fencing_token\":\"\(lease.fencingToken)\""), "\(genuine)")
            var highest = lease.fencingToken
            for forged in ["9007199254740991", "\"9007199254740991\"", "-1", "1e300", "\"x9\""] {
                let entry = genuine.replacingOccurrences(
                    of: "\"fencing_token\":\"\(lease.fencingToken)\"", with: "\"fencing_token\":\(forged)")
                try #require(entry != genuine)
                try await server.command(["SET", key, entry, "EX", "60"])
                do throws(LockError) {
                    let renewed = try await locks.renew("r", account: account, lock: lease.lock, seconds: 60, now: now())
                    // A new token from the store.
                    #expect(renewed.fencingToken == highest + 1, "\(forged)")
                    highest = renewed.fencingToken
                    let again = try await locks.renew("r", account: account, lock: lease.lock, seconds: 60, now: now())
                    #expect(again.fencingToken == highest)
                } catch {
                    // What is no number is no lock of the hub.
                    #expect(error == .otherHolder && forged == "\"x9\"", "\(forged)")
                    try await server.command(["DEL", key])
                }
            }
            let next = try await locks.acquire("r", account: account, seconds: 60, now: now())
            #expect(next.fencingToken == highest + 1)
        }
    }

    @Test func fencingTokenOfAnotherLockIsNotAccepted() async throws {
        try await Self.running { services, server in
            let locks = services.locks(fencing: CountingSequence())
            let first = try await locks.acquire("a", account: "7", seconds: 60, now: now())
            let entry = try await server.command(["GET", "lock:7/a"])
            // The same holder's lock under another resource, and in another account.
            try await server.command(["SET", "lock:7/b", entry])
            try await server.command(["SET", "lock:8/a", entry.replacingOccurrences(of: "\"7\"", with: "\"8\"")])
            let moved = try await locks.renew("b", account: "7", lock: first.lock, seconds: 60, now: now())
            let foreign = try await locks.renew("a", account: "8", lock: first.lock, seconds: 60, now: now())
            #expect(moved.fencingToken == 2 && foreign.fencingToken == 3)
        }
    }

    /// Without the store there is no token, and so no renewal of a lock whose token cannot be trusted.
    @Test func renewalOfUnmarkedLockNeedsStore() async throws {
        try await Self.running { services, server in
            let lease = try await services.locks(fencing: CountingSequence()).acquire("r", account: "0", seconds: 60, now: now())
            let entry = try await server.command(["GET", "lock:r"])
            let broken = services.locks(fencing: BrokenSequence())
            #expect(
                try await broken.renew("r", account: "0", lock: lease.lock, seconds: 60, now: now()).fencingToken
                    == lease.fencingToken)
            try await server.command(["SET", "lock:r", entry.replacingOccurrences(of: "\"mac\"", with: "\"max\"")])
            await #expect(throws: LockError.unavailable("Cannot allocate a fencing token: the store is unavailable.")) {
                try await broken.renew("r", account: "0", lock: lease.lock, seconds: 60, now: now())
            }
        }
    }

    @Test func fencingTokensAboveDoublePrecisionAreExact() async throws {
        try await Self.running { services, _ in
            let locks = services.locks(fencing: HighSequence())
            let lease = try await locks.acquire("r", account: "7", seconds: 60, now: now())
            #expect(lease.fencingToken == 9_007_199_254_740_993)
            for _ in 0..<2 {
                let renewed = try await locks.renew("r", account: "7", lock: lease.lock, seconds: 60, now: now())
                #expect(renewed.fencingToken == 9_007_199_254_740_993)
            }
        }
    }

    /// An earlier version of the hub wrote `lock:{resource}` for all accounts, without a MAC.
    @Test func lockOfEarlierVersionStaysWithItsAccount() async throws {
        try await Self.running { services, server in
            let locks = services.locks(fencing: CountingSequence())
            let until = now().advanced(bySeconds: 60)
            let entry =
                #"{"lock_id":"secret","account":"7","fencing_token":5,"expires_at":"x","expires":"# + "\(until.milliseconds)}"
            try await server.command(["SET", "lock:r", entry, "EX", "60"])
            await #expect(throws: LockError.held(until: until)) {
                try await locks.acquire("r", account: "7", seconds: 1, now: now())
            }
            await #expect(throws: LockError.otherHolder) {
                try await locks.renew("r", account: "7", lock: "x", seconds: 1, now: now())
            }
            await #expect(throws: LockError.notHeld) {
                try await locks.renew("r", account: "8", lock: "secret", seconds: 1, now: now())
            }
            _ = try await locks.acquire("r", account: "8", seconds: 60, now: now())
            // The renewal gets a token of the store, because the entry has no MAC.
            let renewed = try await locks.renew("r", account: "7", lock: "secret", seconds: 60, now: now())
            #expect(renewed.fencingToken == 2)
            try await locks.release("r", account: "7", lock: "secret", now: now())
            #expect(try await locks.acquire("r", account: "7", seconds: 60, now: now()).fencingToken == 3)
        }
    }

    /// The legacy service stores a bare id under the name of the only account.
    @Test func lockOfLegacyServiceIsHeldForTheOneAccountOnly() async throws {
        try await Self.running { services, server in
            let locks = services.locks(fencing: CountingSequence())
            try await server.command(["SET", "lock:r", "1712345678.9", "EX", "60"])
            do throws(LockError) {
                _ = try await locks.acquire("r", account: "0", seconds: 1, now: now())
                Issue.record("the lock of the legacy service was ignored")
            } catch {
                guard case .held = error else { throw error }
            }
            _ = try await locks.acquire("r", account: "7", seconds: 1, now: now())
        }
    }

    /// With keys, one account shares its locks with the legacy service. An instance without the setting has them elsewhere.
    @Test func lockIsHeldWhateverTheLegacyAccountOfAnInstance() async throws {
        try await SharedRedis.flush()
        let server = try SharedRedis.server
        try await withServices(server.url, instance: "a") { a in
            try await withServices(server.url, instance: "b") { configuration, _ in
                configuration.foreignAccount = "7"
            } _: { b in
                let sequence = CountingSequence()
                let (without, with) = (a.locks(fencing: sequence), b.locks(fencing: sequence))
                for account in ["7", "0"] {
                    for (first, second) in [(without, with), (with, without)] {
                        let lease = try await first.acquire("r", account: account, seconds: 60, now: now())
                        await #expect(throws: LockError.held(until: lease.expiresAt)) {
                            try await second.acquire("r", account: account, seconds: 60, now: now())
                        }
                        _ = try await second.renew("r", account: account, lock: lease.lock, seconds: 60, now: now())
                        try await second.release("r", account: account, lock: lease.lock, now: now())
                    }
                }
                try await server.command(["SET", "lock:r", "1712345678.9", "EX", "60"])
                do throws(LockError) {
                    _ = try await with.acquire("r", account: "7", seconds: 1, now: now())
                    Issue.record("the lock of the legacy service was ignored")
                } catch {
                    guard case .held = error else { throw error }
                }
                _ = try await with.acquire("r", account: "0", seconds: 1, now: now())
            }
        }
    }

    @Test func overwrittenListsOfAccountAreReplaced() async throws {
        try await Self.running { services, server in
            for key in ["hub:locks:7", "hub:patterns:7", "hub:pattern-bytes:7"] { try await server.command(["SET", key, "x"]) }
            let locks = services.locks(fencing: CountingSequence())
            let lease = try await locks.acquire("r", account: "7", seconds: 60, now: now())
            try await server.command(["SET", "hub:locks:7", "x"])
            try await locks.release("r", account: "7", lock: lease.lock, now: now())
            let pattern = try Self.mapping("1")
            #expect(try await services.patterns.put(pattern, key: "k", account: "7", seconds: 60))
            for key in ["hub:patterns:7", "hub:pattern-bytes:7"] { try await server.command(["SET", key, "x"]) }
            #expect(try await services.patterns.remove("k", account: "7"))
            // Redis has evicted one of two keys that belong together.
            #expect(try await services.patterns.put(pattern, key: "k", account: "7", seconds: 60))
            try await server.command(["DEL", "hub:patterns:7"])
            try await server.command(["HSET", "hub:pattern-bytes:7", "", "99999999"])
            #expect(try await services.patterns.put(pattern, key: "l", account: "7", seconds: 60))
            #expect(try await services.patterns.put(pattern, key: "m", account: "7", seconds: 60))
            #expect(try await services.patterns.pattern("l", account: "7") == pattern)
        }
    }

    // MARK: Mapping patterns

    @Test(arguments: ["0", "7"]) func forgedMappingPatternIsAbsent(_ account: String) async throws {
        try await Self.running { services, server in
            let patterns = services.patterns
            let name = account == "0" ? "k" : "7/k"
            let (mapping, companion) = ("pattern:mapping:\(name)", "hub:pattern:\(name)")
            let genuine = try Self.mapping(#"{"a":"b"}"#)
            #expect(try await patterns.put(genuine, key: "k", account: account, seconds: 60))
            #expect(try await server.command(["GET", mapping]) == #"{"a":"b"}"#, "the legacy service reads the bare mapping")
            let entry = try await server.command(["GET", companion])
            try #require(entry.contains("\"mac\""))
            func check(_ key: String, _ value: String) async throws {
                #expect(try await patterns.pattern("k", account: account) == nil, "\(value)")
                #expect(try await patterns.remove("k", account: account) == false)
                #expect(try await server.command(["GET", key]) == value, "the entry of another program was removed")
            }
            for value in [#"{"a":"evil"}"#, "[]", "no JSON", #"{"pattern":{"a":"b"},"confidence":1,"expires":2e12,"mac":"x"}"#] {
                try await server.command(["SET", mapping, value])
                try await check(mapping, value)
            }
            try await server.command(["SET", mapping, #"{"a":"b"}"#])
            let forged = [
                entry.replacingOccurrences(of: "0.9", with: "1"),
                entry.replacingOccurrences(of: "\"expires\":1", with: "\"expires\":2"),
                entry.replacingOccurrences(of: "\"mac\"", with: "\"max\""), "[]", "no JSON",
            ]
            for value in forged {
                try #require(value != entry)
                try await server.command(["SET", companion, value])
                try await check(companion, value)
            }
            // A copy of a genuine entry under another key, and in another account.
            for (copied, key, other) in [("7/l", "l", "7"), ("8/k", "k", "8"), ("l", "l", "0")] {
                try await server.command(["SET", "pattern:mapping:\(copied)", #"{"a":"b"}"#])
                try await server.command(["SET", "hub:pattern:\(copied)", entry])
                #expect(try await patterns.pattern(key, account: other) == nil)
            }
            for key in [mapping, companion] {
                try await server.command(["DEL", key])
                try await server.command(["RPUSH", key, "a"])
            }
            #expect(try await patterns.pattern("k", account: account) == nil)
            // The next pattern of the account replaces it.
            _ = try await patterns.put(genuine, key: "k", account: account, seconds: 60)
            #expect(try await patterns.pattern("k", account: account) == genuine)
        }
    }

    /// The mapping and its bookkeeping were one value.
    @Test func mappingPatternOfEarlierVersionIsReadUntilReplaced() async throws {
        try await Self.running { services, server in
            let pattern = try Self.mapping(#"{"a":"b"}"#)
            #expect(try await services.patterns.put(pattern, key: "k", account: "7", seconds: 60))
            let members = try await server.command(["GET", "hub:pattern:7/k"]).dropFirst()
            try await server.command(["DEL", "hub:pattern:7/k"])
            try await server.command(["SET", "pattern:mapping:7/k", "{\"pattern\":{\"a\":\"b\"},\(members)"])
            #expect(try await services.patterns.pattern("k", account: "7") == pattern)
            #expect(try await services.patterns.put(pattern, key: "k", account: "7", seconds: 60) == false)
            #expect(try await server.command(["GET", "pattern:mapping:7/k"]) == #"{"a":"b"}"#)
        }
    }

    @Test func evictedMappingPatternLeavesNoCompanion() async throws {
        try await SharedRedis.flush()
        let server = try SharedRedis.server
        try await withServices(server.url) { configuration, _ in
            configuration.patterns.accountPatterns = 2
        } _: { services in
            for number in 0..<5 {
                _ = try await services.patterns.put(try Self.mapping("1"), key: "k\(number)", account: "7", seconds: 60)
            }
            #expect(try await server.command(["KEYS", "hub:pattern:*"]).split(separator: "\n").count == 2)
            #expect(try await server.command(["KEYS", "pattern:mapping:*"]).split(separator: "\n").count == 2)
            for number in 0..<5 { _ = try await services.patterns.remove("k\(number)", account: "7") }
            for keys in ["hub:pattern:*", "pattern:mapping:*"] { #expect(try await server.command(["KEYS", keys]).isEmpty) }
        }
    }

    @Test func mappingPatternIsNotServedAfterItsExpiry() async throws {
        try await Self.running { services, server in
            let pattern = try Self.mapping("1")
            #expect(try await services.patterns.put(pattern, key: "k", account: "7", seconds: 1))
            for key in ["pattern:mapping:7/k", "hub:pattern:7/k"] { try await server.command(["PERSIST", key]) }
            #expect(try await services.patterns.pattern("k", account: "7") == pattern)
            try await eventually("the copy to expire") { try await services.patterns.pattern("k", account: "7") == nil }
            #expect(try await server.command(["GET", "pattern:mapping:7/k"]) == "1")
        }
    }

    // MARK: Samples and analyses

    @Test(arguments: ImportCacheKind.allCases) func forgedImportCacheEntryIsAbsent(_ kind: ImportCacheKind) async throws {
        try await Self.running { services, server in
            let id = try #require(ImportID("00000000-0000-4000-8000-000000000001"))
            let other = try #require(ImportID("00000000-0000-4000-8000-000000000002"))
            let otherKind: ImportCacheKind = kind == .sample ? .analysis : .sample
            let value = try JSONText(validating: Array(#"{"pattern_key":"k"}"#.utf8))
            let key = "\(kind.rawValue):\(id)"
            services.imports.put(value, kind, of: id, seconds: 60)
            try await eventually("the value to be in Redis") { await services.imports.value(kind, of: id) == value }
            // The legacy service reads bare JSON.
            #expect(try await server.command(["GET", key]) == value.string)
            let mac = try await server.command(["GET", "hub:mac:\(key)"])
            for (copied, kind, id) in [
                ("\(kind.rawValue):\(other)", kind, other), ("\(otherKind.rawValue):\(id)", otherKind, id),
            ] {
                try await server.command(["SET", copied, value.string])
                try await server.command(["SET", "hub:mac:\(copied)", mac])
                #expect(await services.imports.value(kind, of: id) == nil)
            }
            try await server.command(["SET", key, #"{"pattern_key":"evil"}"#])
            #expect(await services.imports.value(kind, of: id) == nil)
            for wrong in ["", String(repeating: "0", count: 32), mac + "0"] {
                try await server.command(["SET", "hub:mac:\(key)", wrong])
                #expect(await services.imports.value(kind, of: id) == nil)
            }
            services.imports.put(value, kind, of: id, seconds: 60)
            try await eventually("the value to be replaced") { await services.imports.value(kind, of: id) == value }
            services.imports.remove(id)
            try await eventually("the value to be removed") { await services.imports.value(kind, of: id) == nil }
            #expect(try await server.command(["EXISTS", key, "hub:mac:\(key)"]) == "0")
        }
    }

    // MARK: Keys without a TTL

    @Test func forgedEntriesWithoutTTLEndToo() async throws {
        try await Self.running { services, server in
            let flow = try #require(FlowID("f"))
            try await server.command(["HSET", "flow:meta:f", "epoch", "zzzzzzzzzzzz.z", "version", "9"])
            let head = FlowHead(
                flow: flow, account: "1", version: 1, status: .active, resetVersion: 1, updatedAt: Timestamp(milliseconds: 5))
            services.states.put(FlowRecord(head: head, state: .emptyObject, fence: .emptyObject), epoch: epoch)
            try await eventually("the TTL of the forged version") {
                (Int(try await server.command(["PTTL", "flow:meta:f"])) ?? -1) > 0
            }
            let locks = services.locks(fencing: CountingSequence())
            try await server.command(["SET", "lock:r", "forged"])
            await #expect(throws: LockError.self) {
                _ = try await locks.acquire("r", account: "0", seconds: 60, now: now())
            }
            #expect((Int(try await server.command(["PTTL", "lock:r"])) ?? -1) > 0)
        }
    }

    @Test func forgedInstancesAreReadInPart() async throws {
        try await SharedRedis.flush()
        let server = try SharedRedis.server
        try await withServices(server.url, { $1.maximumReplyBytes = 200_000 }) { services in
            // More than one reply may have.
            let script = """
                for number = 1, 9000 do redis.call('SADD', KEYS[1], 'forged-of-some-length-' .. number) end
                redis.call('SADD', KEYS[1], string.rep('x', 300000))
                redis.call('SET', KEYS[2], string.rep('x', 300000))
                """
            try await server.command(["EVAL", script, "2", "hub:instances", "hub:alive:forged-of-some-length-1"])
            let flow = try #require(FlowID("f"))
            func reads() async throws -> Int {
                let lines = try await server.command(["INFO", "commandstats"]).split(whereSeparator: \.isNewline)
                let line = lines.first { $0.hasPrefix("cmdstat_getrange:calls=") }
                return line.flatMap { Int($0.dropFirst(23).prefix { $0 != "," }) } ?? 0
            }
            for _ in 0..<3 {
                let before = try await reads()
                _ = services.registry.count(of: flow, account: "1")
                try await eventually("a read of instances", within: .seconds(5)) { try await reads() > before }
            }
            #expect(services.bus.isDelivering && services.bus.metrics?.replacedConnections == 0)
        }
    }
}
