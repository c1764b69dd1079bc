import FlowTestKit
import Foundation
import Testing

/// The real hub under a random load, checked against what its publishers know. A failure prints its seed;
/// `FLOWHUB_MODEL_SEED=<seed>` repeats that run.
@Suite(.serialized) struct ModelTests {
    private static let seeds: [UInt64] = {
        if let text = ProcessInfo.processInfo.environment["FLOWHUB_MODEL_SEED"], let seed = UInt64(text) { return [seed] }
        let count = TestScale.pick(2, full: 25)
        return (0..<count).map { _ in UInt64.random(in: 1...999_999) }
    }()

    private func expectNoViolations(_ seed: UInt64, _ schedule: ModelSchedule) async throws {
        let violations = try await ModelRun(seed: seed, schedule: schedule).run()
        let shown = violations.prefix(10).map { "\n  \($0)" }.joined()
        #expect(violations.isEmpty, "FLOWHUB_MODEL_SEED=\(seed): \(violations.count) violations\(shown)")
    }

    @Test(arguments: seeds) func modelHoldsUnderReconnects(seed: UInt64) async throws {
        try await self.expectNoViolations(seed, ModelSchedule())
    }

    @Test(arguments: seeds) func modelHoldsUnderRestarts(seed: UInt64) async throws {
        var schedule = ModelSchedule()
        schedule.steps = 150
        schedule.disruptions = [.kill, .terminate]
        try await self.expectNoViolations(seed, schedule)
    }

    @Test(arguments: seeds) func modelHoldsUnderRaisedEpochs(seed: UInt64) async throws {
        var schedule = ModelSchedule()
        schedule.steps = 150
        schedule.disruptions = [.raiseEpoch, .raiseEpoch]
        try await self.expectNoViolations(seed, schedule)
    }

    @Test(arguments: seeds) func modelHoldsWithSlowSubscribers(seed: UInt64) async throws {
        var schedule = ModelSchedule()
        schedule.narrowPercent = 100
        schedule.writes = [(.bulk, 60), (.publish, 30), (.patch, 10)]
        schedule.moves = [(.connect, 20), (.stopReading, 20), (.read, 15), (.linger, 45)]
        schedule.cursors = [(.kept, 1)]
        try await self.expectNoViolations(seed, schedule)
    }
}
