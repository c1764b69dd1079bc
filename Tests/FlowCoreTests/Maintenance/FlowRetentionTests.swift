import Logging
import Synchronization
import Testing

@testable import FlowCore

@Suite struct FlowRetentionTests {
    private static func finish(_ fixture: ManagerFixture, at milliseconds: Int64) async throws {
        let change = FlowChange(
            flow: Sample.flow, account: "1", body: .patch(Sample.json(#"{"status":"completed"}"#)),
            at: Timestamp(milliseconds: milliseconds))
        _ = try await fixture.manager.apply(change)
    }

    @Test func finishedFlowIsDeletedWithEvent() async throws {
        let fixture = ManagerFixture()
        try await Self.finish(fixture, at: 1_000)
        let retention = FlowRetention(manager: fixture.manager, logger: Logger(label: "test"))
        let now = Timestamp(milliseconds: 9_000)
        #expect(try await retention.delete(before: Timestamp(milliseconds: 1_000), limit: 10, now: now) == 0)
        #expect(retention.deletions == 0)
        #expect(try await retention.delete(before: Timestamp(milliseconds: 1_001), limit: 10, now: now) == 0)
        #expect(retention.deletions == 1)
        #expect(try await fixture.manager.record(of: Sample.flow)?.head.isDeleted == true)
        let published = fixture.bus.state.withLock { $0.published }
        guard case .durable(let event, _) = published.last?.content else { return #expect(Bool(false), "\(published)") }
        #expect(event.type == .flowDeleted && event.version == 2 && event.createdAt == now)
    }

    /// The flow is opened again between the query and the deletion.
    @Test func flowThatWasOpenedAgainStays() async throws {
        let fixture = ManagerFixture()
        try await Self.finish(fixture, at: 1_000)
        let found = try await fixture.store.finished(before: Timestamp(milliseconds: 2_000), limit: 10)
        #expect(found.map(\.version) == [1])
        _ = try await fixture.patch(#"{"status":"running"}"#)
        fixture.store.state.withLock { $0.finished = found }
        let retention = FlowRetention(manager: fixture.manager, logger: Logger(label: "test"))
        let failures = try await retention.delete(
            before: Timestamp(milliseconds: 2_000), limit: 10, now: Timestamp(milliseconds: 9_000))
        #expect(failures == 0 && retention.deletions == 0)
        #expect(try await fixture.manager.record(of: Sample.flow)?.head.status.rawValue == "running")
    }

    @Test func failedDeletionsAreCounted() async throws {
        let fixture = ManagerFixture()
        try await Self.finish(fixture, at: 1_000)
        fixture.store.state.withLock { $0.writeFailure = .unavailable("test") }
        let retention = FlowRetention(manager: fixture.manager, logger: Logger(label: "test"))
        let failures = try await retention.delete(
            before: Timestamp(milliseconds: 2_000), limit: 10, now: Timestamp(milliseconds: 9_000))
        #expect(failures == 1 && retention.deletions == 0)
    }
}
