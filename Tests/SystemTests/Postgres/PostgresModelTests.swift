import FlowTestKit
import Testing

/// The model tests with Postgres as the store.
@Suite(.serialized, .postgres()) struct PostgresModelTests {
    private static let seeds = (0..<TestScale.pick(1, full: 10)).map { _ in UInt64.random(in: 1...999_999) }

    private func expectNoViolations(_ seed: UInt64, _ schedule: ModelSchedule) async throws {
        let server = try SharedPostgres.server
        var schedule = schedule
        schedule.environment["DATABASE_URL"] = server.url(try await server.createDatabase())
        let violations = try await ModelRun(seed: seed, schedule: schedule).run()
        #expect(violations.isEmpty, "seed \(seed): \(violations.count) violations\(violations.listing)")
    }

    @Test(arguments: seeds) func modelHoldsUnderReconnects(seed: UInt64) async throws {
        try await self.expectNoViolations(seed, ModelSchedule())
    }

    @Test(arguments: seeds) func modelHoldsUnderRestartsAndRaisedEpochs(seed: UInt64) async throws {
        var schedule = ModelSchedule()
        schedule.steps = 120
        schedule.disruptions = [.kill, .raiseEpoch]
        try await self.expectNoViolations(seed, schedule)
    }
}
