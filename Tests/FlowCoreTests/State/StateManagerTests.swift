import Synchronization
import Testing

@testable import FlowCore

@Suite struct StateManagerTests {
    private static let higher = Epoch(counter: 8, random: "b")

    @Test func commitIsCachedAndPublishedBeforeApplyReturns() async throws {
        let fixture = ManagerFixture()
        _ = try await fixture.patch(#"{"a":1}"#)
        _ = try await fixture.manager.apply(FlowTransitionTests.change(FlowTransitionTests.publish(2)))
        let published = fixture.bus.state.withLock { $0.published }
        let versions = published.map { message -> Version in
            if case .durable(let event, let head) = message.content { head.version * 10 + event.version } else { -1 }
        }
        #expect(versions == [11, 32, 33], "each with the head of its commit")
        #expect(published.allSatisfy { $0.epoch == Sample.epoch && $0.account == "1" })
        #expect(try await fixture.manager.record(of: Sample.flow)?.version == 3)
        #expect(fixture.store.state.withLock { $0.loads } == 0)
        #expect(fixture.counters.totals() == [.eventsDurable: 3, .cacheStateHit: 1])
    }

    @Test func patchWithoutEffectIsNotPublished() async throws {
        let fixture = ManagerFixture()
        _ = try await fixture.patch(#"{"a":1}"#)
        _ = try await fixture.patch(#"{"a":1}"#)
        #expect(fixture.bus.state.withLock { $0.published.count } == 1)
    }

    @Test func cacheMissIsLoadedAndCached() async throws {
        let fixture = ManagerFixture()
        fixture.store.state.withLock { $0.records[Sample.flow] = Sample.record(4) }
        #expect(try await fixture.manager.record(of: Sample.flow)?.version == 4)
        #expect(try await fixture.manager.record(of: Sample.flow)?.version == 4)
        #expect(fixture.store.state.withLock { $0.loads } == 1)
        fixture.store.state.withLock { $0.records[Sample.flow] = Sample.record(6) }
        #expect(try await fixture.manager.record(of: Sample.flow, atLeast: 5)?.version == 6, "older than that is a miss")
        #expect(try await fixture.manager.record(of: Sample.id("absent")) == nil)
        #expect(try await fixture.manager.loadFreshRecord(of: Sample.flow)?.version == 6)
        #expect(fixture.store.state.withLock { $0.loads } == 4)
    }

    /// Runs on the main actor, so that every caller has joined the load before the gate opens.
    @MainActor @Test func concurrentMissesShareOneLoad() async throws {
        let fixture = ManagerFixture()
        fixture.store.state.withLock { state in
            state.records[Sample.flow] = Sample.record(4)
            state.isGateClosed = true
        }
        let tasks = (0..<20).map { _ in Task { try await fixture.manager.record(of: Sample.flow)?.version } }
        while fixture.counters.totals()[.cacheStateMiss] != 20 { await Task.yield() }
        // The load runs in a separate task, which may not have reached the gate yet.
        while fixture.store.state.withLock({ $0.waiting.isEmpty }) { await Task.yield() }
        tasks[0].cancel()
        fixture.store.openGate()
        for task in tasks { #expect(try await task.value == 4) }
        #expect(fixture.store.state.withLock { $0.loads } == 1)
    }

    /// A caller that knows of version 5 must not receive the result of a load that had read version 4.
    @MainActor @Test func earlierLoadDoesNotSatisfyNewerVersion() async throws {
        let fixture = ManagerFixture()
        fixture.store.state.withLock { state in
            state.records[Sample.flow] = Sample.record(4)
            state.isGateClosed = true
        }
        let early = Task { try await fixture.manager.record(of: Sample.flow)?.version }
        while fixture.store.state.withLock({ $0.waiting.isEmpty }) { await Task.yield() }
        fixture.store.state.withLock { $0.records[Sample.flow] = Sample.record(5) }
        let late = Task { try await fixture.manager.record(of: Sample.flow, atLeast: 5)?.version }
        while fixture.counters.totals()[.cacheStateMiss] != 2 { await Task.yield() }
        fixture.store.openGate()
        #expect(try await early.value == 4)
        #expect(try await late.value == 5)
    }

    @Test func adoptsNewEpochAndRetriesChange() async throws {
        let fixture = ManagerFixture()
        _ = try await fixture.patch(#"{"a":1}"#)
        fixture.manager.publish(
            [TransientEvent(type: Sample.type("t"), data: .null, createdAt: Timestamp(milliseconds: 0))], of: Sample.flow,
            account: "1", at: 1)
        fixture.store.state.withLock { $0.actual = Self.higher }
        let outcome = try await fixture.patch(#"{"a":2}"#)
        guard case .applied(let record, _, _) = outcome else { throw Violation(description: "\(outcome)") }
        #expect(record.version == 2)
        #expect(fixture.epochs == [Self.higher])
        #expect(fixture.manager.epoch == Self.higher)
        #expect(fixture.bus.state.withLock { $0.published.last?.epoch } == Self.higher)
        #expect(fixture.cache.state.withLock { $0.epoch } == Self.higher)
        #expect(await fixture.manager.latestTransients(of: Sample.flow, since: 0).isEmpty)
        try await fixture.manager.refreshEpoch()
        #expect(fixture.epochs == [Self.higher], "announced once")
    }

    /// Simulates a slow caller that read the epoch before it was raised and adopts it afterwards.
    @Test func neverAdoptsOlderEpoch() async throws {
        let fixture = ManagerFixture()
        fixture.store.state.withLock { $0.actual = Self.higher }
        try await fixture.manager.refreshEpoch()
        fixture.store.state.withLock { $0.actual = Sample.epoch }
        try await fixture.manager.refreshEpoch()
        #expect(fixture.epochs == [Self.higher])
        #expect(fixture.cache.state.withLock { $0.epoch } == Self.higher)
    }

    /// The store has adopted a higher epoch that is not announced yet. A writer that reads after its change must find it.
    @MainActor @Test func changeUnderEpochNotYetAnnouncedIsRead() async throws {
        let fixture = ManagerFixture()
        _ = try await fixture.patch(#"{"a":1}"#)
        fixture.store.state.withLock { state in
            state.actual = Self.higher
            state.adopted = Self.higher
            state.isGateClosed = true
        }
        let early = Task { try await fixture.manager.loadFreshRecord(of: Sample.flow)?.version }
        while fixture.store.state.withLock({ $0.waiting.isEmpty }) { await Task.yield() }
        _ = try await fixture.patch(#"{"a":2}"#)
        #expect(try await fixture.manager.record(of: Sample.flow)?.version == 2)
        try await fixture.manager.refreshEpoch()
        fixture.store.openGate()
        _ = try await early.value
        #expect(try await fixture.manager.record(of: Sample.flow)?.version == 2)
    }

    @Test func raisingEpochEmptiesCache() async throws {
        let fixture = ManagerFixture()
        _ = try await fixture.patch(#"{"a":1}"#)
        try await fixture.manager.raiseEpoch(from: fixture.store.epoch, now: Timestamp(milliseconds: 5_000))
        #expect(fixture.manager.epoch > Sample.epoch)
        #expect(fixture.epochs == [fixture.manager.epoch])
        #expect(fixture.cache.versions().isEmpty)
        fixture.cache.put(Sample.record(9), epoch: Sample.epoch)
        #expect(fixture.cache.versions().isEmpty, "what was loaded under the old epoch")
    }

    @Test func storeFailureChangesDeliveryAndReachesCaller() async throws {
        let fixture = ManagerFixture()
        let notified = Mutex<[DeliveryStatus]>([])
        fixture.health.observe { status in notified.withLock { $0.append(status) } }
        fixture.store.state.withLock { $0.failure = .unavailable("gone") }
        await #expect(throws: StoreError.unavailable("gone")) { try await fixture.patch("{}") }
        await #expect(throws: StoreError.unavailable("gone")) { try await fixture.manager.record(of: Sample.flow) }
        fixture.health.busChanged(isDelivering: false)
        fixture.store.state.withLock { $0.failure = nil }
        #expect(try await fixture.manager.heads(of: []).isEmpty)
        await fixture.manager.probeWrites()
        fixture.health.busChanged(isDelivering: true)
        #expect(notified.withLock { $0 } == [.ok, .storeAway, .degraded, .ok])
    }

    @Test func onlySuccessfulProbeRestoresDelivery() async throws {
        let fixture = ManagerFixture()
        _ = try await fixture.patch(#"{"a":1}"#)
        for failure in [StoreError.unavailable("full"), .outcomeUnknown("full")] {
            let notified = Mutex<[DeliveryStatus]>([])
            fixture.health.observe { status in notified.withLock { $0.append(status) } }
            fixture.store.state.withLock { $0.writeFailure = failure }
            await #expect(throws: failure) { try await fixture.patch(#"{"a":2}"#) }
            #expect(try await fixture.manager.heads(of: []).isEmpty)
            await fixture.manager.probeWrites()
            #expect(fixture.health.delivery == .storeAway, "a read that works says nothing about writes")
            fixture.store.state.withLock { $0.writeFailure = nil }
            _ = try await fixture.patch(#"{"a":1}"#)
            #expect(fixture.health.delivery == .storeAway, "nor does a change that writes nothing")
            _ = try await fixture.patch(#"{"a":3}"#)
            #expect(fixture.health.delivery == .storeAway, "nor does a change that may be smaller than the failed one")
            await fixture.manager.probeWrites()
            #expect(notified.withLock { $0 } == [.ok, .storeAway, .ok])
            _ = try await fixture.patch(#"{"a":1}"#)
        }
        #expect(fixture.health.storeFailures == 4, "changes and probes")
    }

    @Test func failureAfterEpochChangeMarksStoreUnavailable() async throws {
        let fixture = ManagerFixture()
        fixture.store.state.withLock { $0.actual = Self.higher }
        fixture.store.state.withLock { $0.failureAfterRefresh = .unavailable("gone") }
        await #expect(throws: StoreError.unavailable("gone")) { try await fixture.manager.heads(of: []) }
        #expect(fixture.health.delivery == .storeAway)
    }

    @Test func transientEventsAreCachedAndPublishedWithoutStore() async {
        let fixture = ManagerFixture()
        let tick = TransientEvent(type: Sample.type("t"), data: Sample.json("1"), createdAt: Timestamp(milliseconds: 0))
        fixture.manager.publish([tick], of: Sample.flow, account: "1", at: 3)
        #expect(await fixture.manager.latestTransients(of: Sample.flow, since: 3) == [tick])
        #expect(await fixture.manager.latestTransients(of: Sample.flow, since: 4).isEmpty)
        let message = fixture.bus.state.withLock { $0.published.first }
        guard case .transient(let published)? = message?.content else {
            Issue.record("not published")
            return
        }
        #expect(published == tick)
        #expect(fixture.counters.totals() == [.eventsTransient: 1])
        #expect(fixture.store.state.withLock { $0.applies + $0.loads } == 0)
    }
}
