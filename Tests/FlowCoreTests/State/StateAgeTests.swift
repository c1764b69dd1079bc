import Synchronization
import Testing

@testable import FlowCore

/// How old a flow may be that a read returns, where other instances change the store and the version sweep does not help.
@Suite struct StateAgeTests {
    private static let maximumAge = Duration.milliseconds(800)

    private let fixture = ManagerFixture(maximumAge: Self.maximumAge)

    private var store: FakeStore { self.fixture.store }
    private var headReads: [[FlowID]] { self.store.state.withLock { $0.headReads } }
    private var loads: Int { self.store.state.withLock { $0.loads } }
    private var isAnyoneWaiting: Bool { self.store.state.withLock { !$0.waiting.isEmpty } }

    /// Another instance commits; its bus message is of no interest here, because nobody watches the flow.
    private func setStored(_ version: Version) {
        self.store.state.withLock { $0.records[Sample.flow] = Sample.record(version) }
    }

    private func closeGate() { self.store.state.withLock { $0.isGateClosed = true } }
    private func waitAtGate() async { while !self.isAnyoneWaiting { await Task.yield() } }

    private func version(_ freshness: StateManager.Freshness = .recent) async throws -> Version? {
        try await self.fixture.manager.read(Sample.flow, freshness).record?.version
    }

    @Test func stateFromMemoryIsComparedOnceItIsTooOld() async throws {
        self.setStored(4)
        #expect(try await self.version() == 4)
        self.setStored(5)
        self.fixture.advance(by: Self.maximumAge)
        #expect(try await self.version() == 4)
        #expect(self.headReads.isEmpty, "not asked before")
        self.fixture.advance(by: .milliseconds(1))
        #expect(try await self.version() == 5)
        #expect(try await self.version() == 5)
        #expect(self.headReads == [[Sample.flow]] && self.loads == 2)
        self.fixture.advance(by: .seconds(9))
        for _ in 0..<3 { #expect(try await self.version() == 5) }
        #expect(self.headReads.count == 2 && self.loads == 2, "compared, and still current")
        #expect(self.fixture.manager.checkCounts == .init(current: 1, outdated: 1))
    }

    @Test func ownChangeDoesNotHideLaterOneOfOtherInstance() async throws {
        _ = try await self.fixture.patch(#"{"a":1}"#)
        self.setStored(2)
        #expect(try await self.version() == 2)
    }

    @Test func namedVersionIsEnoughForCallerThatNamesOne() async throws {
        self.setStored(4)
        #expect(try await self.version() == 4)
        self.setStored(5)
        self.fixture.advance(by: .seconds(60))
        #expect(try await self.fixture.manager.record(of: Sample.flow, atLeast: 4)?.version == 4)
        #expect(try await self.fixture.manager.record(of: Sample.flow, atLeast: 5)?.version == 5)
        #expect(self.headReads.isEmpty)
    }

    @Test func withoutOtherInstancesNoAgeIsTooOld() async throws {
        let fixture = ManagerFixture()
        fixture.store.state.withLock { $0.records[Sample.flow] = Sample.record(4) }
        for _ in 0..<3 {
            #expect(try await fixture.manager.read(Sample.flow).record?.version == 4)
            fixture.advance(by: .seconds(60))
        }
        #expect(fixture.store.state.withLock { $0.headReads.isEmpty && $0.loads == 1 })
        #expect(try await fixture.manager.read(Sample.flow, .current).record?.version == 4)
        #expect(fixture.store.state.withLock { $0.headReads.count == 1 && $0.loads == 1 }, "asked if the client wants it")
    }

    @Test func currentReadFindsEveryEarlierCommit() async throws {
        for version in 4...6 as ClosedRange<Version> {
            self.setStored(version)
            self.fixture.advance(by: .milliseconds(1))
            #expect(try await self.version(.current) == version)
        }
        #expect(self.headReads.count == 2 && self.loads == 3)
        #expect(try await self.version() == 6)
        #expect(self.headReads.count == 2, "other reads are content with what it has found")
    }

    /// The time of the answer would make a state look younger than it is.
    @Test func ageCountsFromBeginningOfRead() async throws {
        self.setStored(4)
        for isCached in [false, true] {
            self.fixture.advance(by: .seconds(60))
            self.closeGate()
            let slow = Task { try await self.version() }
            await self.waitAtGate()
            let stored: Version = isCached ? 6 : 5
            self.setStored(stored)
            self.fixture.advance(by: .milliseconds(500))
            self.store.openGate()
            #expect(try await slow.value == stored - 1)
            #expect(try await self.version() == stored - 1)
            self.fixture.advance(by: .milliseconds(301))
            #expect(try await self.version() == stored)
        }
    }

    /// Runs on the main actor, so that every reader waits before the gate opens.
    @MainActor @Test(arguments: [false, true]) func readersShareOneQueryPerInterval(_ isCached: Bool) async throws {
        self.setStored(4)
        if isCached {
            #expect(try await self.version() == 4)
            self.fixture.advance(by: .seconds(60))
        }
        let (loads, hits) = (self.loads, self.fixture.counters.totals())
        self.closeGate()
        let counter: Counter = isCached ? .cacheStateHit : .cacheStateMiss
        var readers: [Task<Version?, any Error>] = []
        for count in 1...50 {
            readers.append(Task { try await self.version() })
            while self.fixture.counters.totals()[counter] != (hits[counter] ?? 0) + count { await Task.yield() }
            await self.waitAtGate()
            self.fixture.advance(by: .milliseconds(10))
        }
        readers[0].cancel()
        self.store.openGate()
        for reader in readers { #expect(try await reader.value == 4) }
        #expect(self.headReads.count == (isCached ? 1 : 0) && self.loads - loads == (isCached ? 0 : 1))
    }

    /// A load that is in flight may have read the flow before the earliest time that a reader accepts.
    @MainActor @Test(arguments: [StateManager.Freshness.recent, .current])
    func loadThatBeganTooEarlyIsNotShared(_ freshness: StateManager.Freshness) async throws {
        self.setStored(4)
        self.closeGate()
        let early = Task { try await self.version() }
        await self.waitAtGate()
        self.setStored(5)
        self.fixture.advance(by: freshness == .current ? .milliseconds(1) : .seconds(1))
        let late = (0..<20).map { _ in Task { try await self.version(freshness) } }
        while self.fixture.counters.totals()[.cacheStateMiss] != 21 { await Task.yield() }
        #expect(self.loads == 1, "one load at a time")
        self.store.openGate()
        #expect(try await early.value == 4)
        for task in late { #expect(try await task.value == 5) }
        #expect(self.loads == 2)
    }

    /// The state of this instance's own change was evicted while an earlier load is in flight.
    @MainActor @Test func evictedStateIsNotFollowedByOlderOne() async throws {
        self.setStored(4)
        self.closeGate()
        let early = Task { try await self.version() }
        await self.waitAtGate()
        _ = try await self.fixture.patch(#"{"a":1}"#)
        self.fixture.cache.evict(Sample.flow)
        let late = Task { try await self.version() }
        while self.fixture.counters.totals()[.cacheStateMiss] != 2 { await Task.yield() }
        self.store.openGate()
        #expect(try await late.value == 5)
        #expect(try await early.value == 5, "it is known by now")
    }

    /// A tag of another epoch would name another state.
    @Test func readingHasEpochOfItsVersion() async throws {
        self.setStored(4)
        let first = try await self.fixture.manager.read(Sample.flow)
        #expect(first.epoch == Sample.epoch)
        let higher = Epoch(counter: 8, random: "b")
        // The store has adopted the epoch, and its announcement has not emptied the cache yet.
        self.store.state.withLock { state in
            state.actual = higher
            state.adopted = higher
            state.records[Sample.flow] = Sample.record(2)
        }
        let current = try await self.fixture.manager.read(Sample.flow)
        #expect(current.record?.version == 2 && current.epoch == higher)
    }

    @Test func failedComparisonReachesCaller() async throws {
        self.setStored(4)
        #expect(try await self.version() == 4)
        self.store.state.withLock { $0.failure = .unavailable("away") }
        self.fixture.advance(by: .seconds(1))
        await #expect(throws: StoreError.unavailable("away")) { try await self.version() }
    }

    /// A query that is in flight may have read the flow before a caller knew of a later version.
    @Test func queryThatBeganTooEarlyIsNotShared() async throws {
        let reader = HeadReader(now: { self.fixture.now })
        let store = self.store
        @Sendable func version(_ flow: FlowID, since: ContinuousClock.Instant) async throws -> Version? {
            try await reader.head(of: flow, since: since) { flows throws(StoreError) in try await store.heads(of: flows) }
                .head?.version
        }
        self.setStored(4)
        self.closeGate()
        let start = self.fixture.now
        let early = Task { try await version(Sample.flow, since: start) }
        await self.waitAtGate()
        self.setStored(5)
        self.fixture.advance(by: .milliseconds(1))
        let now = self.fixture.now
        let late = [Sample.flow, Sample.id("absent"), Sample.flow].map { flow in Task { try await version(flow, since: now) } }
        late[0].cancel()
        store.openGate()
        #expect(try await early.value == 4)
        var versions: [Version?] = []
        for task in late { versions.append(try await task.value) }
        #expect(versions == [5, nil, 5], "a canceled caller does not end the query of the others")
        #expect(self.headReads.first == [Sample.flow] && self.headReads.count > 1)
    }

    /// What a load logs or traces belongs to no single caller.
    @Test func sharedReadsHaveNoTaskLocalsOfTheirFirstCaller() async throws {
        let flights = SingleFlight<Int, String, Never>(now: { .now })
        let reader = HeadReader(now: { .now })
        let seen = Mutex<[String]>([])
        await Self.$caller.withValue("first") {
            seen.withLock { $0.append(Self.caller) }
            let loaded = await flights.value(for: 1, since: nil) { Self.caller }
            seen.withLock { $0.append(loaded) }
            _ = try? await reader.head(of: Sample.flow, since: .now) { _ throws(StoreError) -> [FlowHead] in
                seen.withLock { $0.append(Self.caller) }
                return []
            }
        }
        #expect(seen.withLock { $0 } == ["first", "none", "none"])
    }

    @TaskLocal private static var caller = "none"
}
