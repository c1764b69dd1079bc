import FlowCore
import FlowEmbedded
import Synchronization
import Testing

/// Limits of the in-memory stores.
@Suite struct MemoryTests {
    private let epoch = Epoch(counter: 1, random: "a")

    private func record(_ name: String, _ version: Version, bytes: Int = 2) throws -> FlowRecord {
        let state = try JSONText(validating: (#"{"x":""# + String(repeating: "x", count: bytes) + "\"}").utf8)
        let head = FlowHead(
            flow: try #require(FlowID(name)), account: "1", version: version, status: .active, resetVersion: 0, updatedAt: start)
        return FlowRecord(head: head, state: state)
    }

    @Test func stateCacheEnforcesLimits() throws {
        var limits = MemoryStateCache.Limits()
        limits.entries = 160
        limits.bytes = 16 * 20_000
        let cache = MemoryStateCache(limits: limits)
        cache.advance(to: self.epoch)
        for number in 0..<5_000 { cache.put(try self.record("f\(number)", 1), epoch: self.epoch) }
        #expect((80...160).contains(cache.versions().count))
        for number in 0..<5_000 { cache.put(try self.record("g\(number)", 1, bytes: 5_000), epoch: self.epoch) }
        #expect((16...64).contains(cache.versions().count))
    }

    @Test func oversizedStateEvictsOlderVersion() throws {
        var limits = MemoryStateCache.Limits()
        limits.bytes = 16 * 20_000
        let cache = MemoryStateCache(limits: limits)
        cache.advance(to: self.epoch)
        cache.put(try self.record("a", 1), epoch: self.epoch)
        cache.put(try self.record("a", 2, bytes: 30_000), epoch: self.epoch)
        #expect(cache.versions().isEmpty)
        cache.put(try self.record("a", 1), epoch: self.epoch)
        #expect(cache.versions().isEmpty)
        cache.put(try self.record("a", 3), epoch: self.epoch)
        #expect(cache.versions().count == 1)
    }

    @Test func cacheRejectsOlderVersionAfterEviction() throws {
        var limits = MemoryStateCache.Limits()
        limits.entries = 16
        let cache = MemoryStateCache(limits: limits)
        cache.advance(to: self.epoch)
        let id = try #require(FlowID("a"))
        cache.put(try self.record("a", 7), epoch: self.epoch)
        var number = 0
        while cache.record(of: id, atLeast: 0) != nil {
            number += 1
            cache.put(try self.record("f\(number)", 1), epoch: self.epoch)
        }
        cache.put(try self.record("a", 6), epoch: self.epoch)
        #expect(cache.record(of: id, atLeast: 0) == nil)
        cache.put(try self.record("a", 7), epoch: self.epoch)
        #expect(cache.record(of: id, atLeast: 0)?.version == 7)
    }

    @Test func transientStoreEnforcesLimits() async throws {
        var limits = MemoryTransientStore.Limits()
        limits.flows = 160
        limits.flow.eventBytes = 100
        let store = MemoryTransientStore(limits: limits)
        let tick = try #require(EventType("tick"))
        let event = TransientEvent(type: tick, data: .null, createdAt: start)
        for number in 0..<5_000 { store.record(event, of: try #require(FlowID("f\(number)")), at: 1) }
        var cachedCount = 0
        for number in 0..<5_000 { cachedCount += await store.latest(of: try #require(FlowID("f\(number)")), since: 0).count }
        #expect((80...160).contains(cachedCount))
        // An event that is too large to be stored removes the older one, which is outdated.
        let id = try #require(FlowID("last"))
        store.record(event, of: id, at: 1)
        let large = try JSONText(validating: ("\"" + String(repeating: "x", count: 200) + "\"").utf8)
        store.record(TransientEvent(type: tick, data: large, createdAt: start), of: id, at: 1)
        #expect(await store.latest(of: id, since: 0).isEmpty)
    }

    @Test func rejectsLocksOverLimitUntilOneExpires() async throws {
        var limits = LockLimits()
        limits.locks = 2
        let locks = MemoryLockService(fencing: CountingSequence(), limits: limits)
        _ = try await locks.acquire("a", account: "1", seconds: 10, now: start)
        _ = try await locks.acquire("b", account: "2", seconds: 20, now: start)
        await #expect(throws: LockError.tooMany(limit: 2)) { try await locks.acquire("c", account: "2", seconds: 1, now: start) }
        _ = try await locks.acquire("c", account: "2", seconds: 1, now: start.advanced(bySeconds: 10))
    }

    @Test func releasesLockIfTokenAllocationFails() async throws {
        struct Broken: FencingSequence {
            func nextFencingToken() async throws(StoreError) -> Int64 { throw .unavailable("away") }
        }
        var limits = LockLimits()
        limits.locks = 1
        let locks = MemoryLockService(fencing: Broken(), limits: limits)
        for _ in 0..<3 {
            await #expect(throws: LockError.unavailable("away")) {
                try await locks.acquire("a", account: "1", seconds: 9, now: start)
            }
        }
    }

    private func pattern(bytes: Int = 2) throws -> MappingPattern {
        let text = try JSONText(validating: ("\"" + String(repeating: "x", count: bytes - 2) + "\"").utf8)
        return try #require(MappingPattern(pattern: text, confidence: try JSONText(validating: "1".utf8)))
    }

    @Test func mappingPatternStoreEnforcesLimits() async throws {
        let now = Mutex(start)
        var limits = MappingPatternLimits()
        (limits.patterns, limits.accountPatterns) = (100, 60)
        (limits.bytes, limits.accountBytes) = (100_000, 60_000)
        let store = MemoryMappingPatternStore(limits: limits) { now.withLock { $0 } }
        func cachedCount(_ keys: Range<Int>, _ account: String) async throws -> Int {
            var count = 0
            for key in keys where try await store.pattern("\(key)", account: account) != nil { count += 1 }
            return count
        }
        for number in 0..<200 {
            #expect(try await store.put(self.pattern(), key: "\(number)", account: "1", seconds: 9))
            #expect(try await store.put(self.pattern(), key: "\(number)", account: "2", seconds: 19))
        }
        // Each evicts its own patterns, also where only both together exceed the limit.
        let counts = (try await cachedCount(0..<200, "1"), try await cachedCount(0..<200, "2"))
        #expect(counts.0 + counts.1 == 100 && max(counts.0, counts.1) <= 60)
        // An account without patterns cannot evict another's.
        await #expect(throws: MappingPatternError.tooMany) {
            try await store.put(self.pattern(), key: "a", account: "3", seconds: 9)
        }
        #expect(try await cachedCount(0..<200, "1") == counts.0)
        #expect(try await cachedCount(0..<200, "2") == counts.1)
        // Expired ones make room.
        now.withLock { $0 = start.advanced(bySeconds: 9) }
        #expect(try await store.put(self.pattern(), key: "a", account: "3", seconds: 9))
        for number in 200..<220 {
            #expect(try await store.put(self.pattern(bytes: 9_000), key: "\(number)", account: "2", seconds: 9))
        }
        #expect((1...6).contains(try await cachedCount(0..<220, "2")))
    }

    @Test func mappingPatternExpiresExactlyAfterTTL() async throws {
        let now = Mutex(start)
        let store = MemoryMappingPatternStore { now.withLock { $0 } }
        #expect(try await store.put(self.pattern(), key: "a", account: "1", seconds: 86_400))
        now.withLock { $0 = start.advanced(bySeconds: 86_399) }
        #expect(try await store.pattern("a", account: "1") != nil)
        now.withLock { $0 = start.advanced(bySeconds: 86_400) }
        #expect(try await store.pattern("a", account: "1") == nil)
        #expect(try await store.remove("a", account: "1") == false)
        #expect(try await store.put(self.pattern(), key: "a", account: "1", seconds: 1))
    }

    @Test func countersResetAtMidnight() {
        let day = Timestamp(milliseconds: 86_400_000 * 20_000)
        let now = Mutex(day.advanced(bySeconds: 86_399))
        let counters = MemoryCounters { now.withLock { $0 } }
        counters.add(3, to: .cacheStateHit)
        counters.add(2, to: .cacheStateHit)
        #expect(counters.totals()[.cacheStateHit] == 5)
        #expect(counters.totals()[.eventsDurable] == 0)
        now.withLock { $0 = day.advanced(bySeconds: 86_400) }
        counters.add(1, to: .cacheStateHit)
        #expect(counters.totals()[.cacheStateHit] == 1)
    }
}
