import Synchronization
import Testing

@testable import FlowCore

/// States that instances leave for each other: what a manager returns is the store's, whatever the shared cache has.
@Suite struct SharedStateTests {
    private let shared = FakeSharedCache()
    private let fixture: ManagerFixture

    init() { self.fixture = ManagerFixture(shared: self.shared, maximumAge: .milliseconds(800)) }

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
        // One comparison for the state from the shared cache; it is then in memory and not too old.
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
        // What was compared a moment ago was the state in memory, not this one.
        #expect(try await self.fixture.manager.record(of: Sample.flow)?.version == 4)
    }

    @Test func sharedStateOfAbsentFlowIsNotReturned() async throws {
        self.setShared(4)
        #expect(try await self.fixture.manager.record(of: Sample.flow) == nil)
    }

    @Test func failedCheckReachesCaller() async throws {
        self.setStored(4)
        self.setShared(4)
        self.fixture.store.state.withLock { $0.failure = .unavailable("away") }
        await #expect(throws: StoreError.unavailable("away")) { try await self.fixture.manager.record(of: Sample.flow) }
        #expect(self.fixture.health.delivery == .storeAway)
    }
}
