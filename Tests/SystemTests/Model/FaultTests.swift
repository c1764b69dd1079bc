import FlowTestKit
import Testing

/// Mutation tests of the model: it must detect each simulated fault, and find nothing without one.
@Suite(.serialized) struct FaultTests {
    /// A short schedule.
    private static var short: ModelSchedule {
        var schedule = ModelSchedule()
        schedule.flows = 2
        schedule.crowdSubscribers = 0
        schedule.crowdWriters = 0
        schedule.subscribers = 8
        schedule.steps = 40
        schedule.settling = .seconds(5)
        return schedule
    }

    /// A schedule with occasions for the fault.
    private static func schedule(for fault: StreamFault) -> ModelSchedule {
        var schedule = Self.short
        switch fault {
        case .resyncOff:
            schedule.cursors = [(.invalid, 40), (.otherEpoch, 20), (.kept, 40)]
        case .pageCheckOff:
            schedule.writes = [(.bulk, 30), (.publish, 70)]
            schedule.cursors = [(.start, 30), (.older, 30), (.kept, 40)]
            schedule.rounds = 3
            schedule.awaitsPruning = true
            schedule.disruptions = [.terminate]
        case .primeBeforeSnapshot:
            schedule.cursors = [(.none, 1)]
            schedule.headPercent = 0
            schedule.sharedPercent = 0
        case .slowReaderSkips:
            schedule.narrowPercent = 100
            schedule.writes = [(.bulk, 60), (.publish, 40)]
            schedule.moves = [(.connect, 20), (.stopReading, 30), (.read, 10), (.linger, 40)]
        case .batchReversed:
            schedule.writes = [(.batch, 80), (.publish, 20)]
        case .replayOverlaps: break
        }
        return schedule
    }

    /// Every second subscriber has the fault; the others must receive what they should.
    @Test func modelDetectsFaultOfStreams() async {
        await concurrently(StreamFault.allCases, atMost: 3, self.modelDetectsFaultOfStreams(_:))
    }

    private func modelDetectsFaultOfStreams(_ fault: StreamFault) async throws {
        var run = ModelRun(seed: UInt64.random(in: 1...999_999), schedule: Self.schedule(for: fault))
        run.schedule.streamFault = fault
        let found = try await run.outcome()
        let sound = found.violations.filter { !$0.source.hasPrefix(ModelSubscriber.faultyName) }
        #expect(sound.isEmpty, "seed \(run.seed): \(sound.prefix(5).map(\.description))")
        #expect(found.faultOccasions > 0, "the fault had no effect, seed \(run.seed)")
        #expect(found.violations.count > sound.count, "the fault was not detected, seed \(run.seed)")
        if fault == .slowReaderSkips { #expect(found.slowSubscribers > 0, "no subscriber was slow, seed \(run.seed)") }
    }

    @Test func modelDetectsFaultOfStore() async {
        await concurrently(StoreFault.allCases, atMost: 3, self.modelDetectsFaultOfStore(_:))
    }

    private func modelDetectsFaultOfStore(_ fault: StoreFault) async throws {
        var run = ModelRun(seed: UInt64.random(in: 1...999_999), schedule: Self.short)
        if fault == .tombstoneOff { run.schedule.writes = [(.delete, 30), (.publish, 40), (.patch, 30)] }
        let clean = try await run.run()
        #expect(clean.isEmpty, "seed \(run.seed): \(clean.prefix(5).map(\.description))")
        run.schedule.storeFault = fault
        let found = try await run.outcome()
        #expect(found.faultOccasions > 0, "the fault had no effect, seed \(run.seed)")
        #expect(!found.violations.isEmpty, "the fault was not detected, seed \(run.seed)")
    }
}
