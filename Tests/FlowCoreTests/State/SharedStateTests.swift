import Synchronization
import Testing

@testable import FlowCore

/// States that instances leave for each other: what a manager returns is the store's, whatever the shared cache has.
@Suite struct SharedStateTests {
    private let shared = FakeSharedCache()
    private let fixture: ManagerFixture

    init() { self.fixture = ManagerFixture(shared: self.shared) }

    private var headReads: [[FlowID]] { self.fixture.store.state.withLock { $0.headReads } }
    private var loads: Int { self.fixture.store.state.withLock { $0.loads } }

    private func setStored(_ version: Version) {
        self.fixture.store.state.withLock { $0.records[Sample.flow] = Sample.record(version) }
    }

    private func setShared(_ version: Version) { self.shared.records.withLock { $0[Sample.flow] = Sample.record(version) } }

    @Test func currentSharedStateIsReturnedWithoutLoad() async throws {
        self.setStored(4)
        self.setShared(4)
        for _ in 0..<3 { #expect(try await self.fixture.manager.record(of: Sample.flow)?.version == 4) }
        #expect(self.loads == 0)
        // One check for the state from the shared cache; a state that was checked within the last second needs no other.
        #expect(self.headReads == [[Sample.flow]])
    }

    /// Another program may write an earlier genuine entry back. One of a version that the store does not have is from before
    /// a restore.
    @Test(arguments: [1, 3, 5]) func otherSharedStateIsNeverReturned(_ version: Version) async throws {
        self.setStored(4)
        self.setShared(version)
        #expect(try await self.fixture.manager.record(of: Sample.flow)?.version == 4)
        #expect(self.loads == 1)
        self.setShared(version)
        #expect(try await self.fixture.manager.record(of: Sample.flow)?.version == 4)
        self.fixture.cache.state.withLock { $0.records = [:] }
        self.setShared(version)
        // The check of a moment ago was of the state in memory, not of this one.
        #expect(try await self.fixture.manager.record(of: Sample.flow)?.version == 4)
    }

    @Test func sharedStateOfAbsentFlowIsNotReturned() async throws {
        self.setShared(4)
        #expect(try await self.fixture.manager.record(of: Sample.flow) == nil)
    }

    @Test func stateInMemoryIsAtMostOneSecondOld() async throws {
        self.setStored(4)
        #expect(try await self.fixture.manager.record(of: Sample.flow)?.version == 4)
        // Another instance commits, and its bus message is of no interest here, because nobody watches the flow.
        self.setStored(5)
        let start = ContinuousClock.now
        while try await self.fixture.manager.record(of: Sample.flow)?.version == 4 {
            try #require(ContinuousClock.now - start < .seconds(5))
            await Task.yield()
        }
        #expect(ContinuousClock.now - start < .seconds(1))
        #expect(self.headReads.count == 1)
        // A caller that names a version is content with it.
        self.setStored(6)
        let named = try await self.fixture.manager.record(of: Sample.flow, atLeast: 5)
        #expect(named?.version == 5)
    }

    @Test func failedCheckReachesCaller() async throws {
        self.setStored(4)
        self.setShared(4)
        self.fixture.store.state.withLock { $0.failure = .unavailable("away") }
        await #expect(throws: StoreError.unavailable("away")) { try await self.fixture.manager.record(of: Sample.flow) }
        #expect(self.fixture.health.delivery == .storeAway)
    }

    /// A query that is in flight may have read the flow before a caller knew of a later version.
    @Test func checkNeverUsesQueryThatStartedBeforeIt() async throws {
        let reader = HeadReader()
        let store = self.fixture.store
        @Sendable func version(_ flow: FlowID) async throws -> Version? {
            try await reader.head(of: flow) { flows throws(StoreError) in try await store.heads(of: flows) }?.version
        }
        self.setStored(4)
        store.state.withLock { $0.isGateClosed = true }
        let early = Task { try await version(Sample.flow) }
        while store.state.withLock({ $0.waiting.isEmpty }) { await Task.yield() }
        self.setStored(5)
        let late = [Sample.flow, Sample.id("absent"), Sample.flow].map { flow in Task { try await version(flow) } }
        late[0].cancel()
        store.openGate()
        #expect(try await early.value == 4)
        var versions: [Version?] = []
        for task in late { versions.append(try await task.value) }
        #expect(versions == [5, nil, 5], "a canceled caller does not end the query of the others")
        #expect(self.headReads.first == [Sample.flow] && self.headReads.count > 1)
    }

    @Test func checkIsRepeatedAfterAtMostASecond() {
        var checked = RecentlyChecked()
        let start = ContinuousClock.now
        let other = Sample.id("other")
        checked.insert(Sample.flow, now: start)
        let wasKnown = checked.contains(Sample.flow, now: start + .milliseconds(400))
        checked.insert(other, now: start + .milliseconds(500))
        let isKnown = checked.contains(Sample.flow, now: start + .milliseconds(600))
        #expect(wasKnown && isKnown)
        for late in [1_000, 5_000] {
            let isStillKnown = checked.contains(Sample.flow, now: start + .milliseconds(late))
            #expect(!isStillKnown)
        }
        checked.insert(other, now: start + .seconds(6))
        checked.removeAll()
        let isForgotten = !checked.contains(other, now: start + .seconds(6))
        #expect(isForgotten)
    }
}
