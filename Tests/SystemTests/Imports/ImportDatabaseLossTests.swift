import FlowCore
import FlowTestKit
import Testing

/// Postgres is killed during an import: no response is wrong, and after a restart ledger, stores and events are consistent.
@Suite(.serialized, .s3()) struct ImportDatabaseLossTests {
    private static func running(
        _ kind: ImportHubFixture.Kind, _ body: @Sendable (ImportHubFixture, PostgresServer) async throws -> Void
    ) async throws {
        try await PostgresServer.running { server in
            try await ImportHubFixture.running(kind, database: server) { fixture in
                try await body(fixture, server)
                try await eventually("the hub to be ready again") { (try? await fixture.hub.api.isReady()) == true }
                try await fixture.settle()
                #expect(try await fixture.ledger().map(\.status) == ["failed"])
                try await fixture.expectConsistent()
                try await fixture.expectKeys(["k": 201], flow: "job")
                try await fixture.settle()
                try await fixture.expectConsistent()
                try await fixture.expectNothingToSweep()
            }
        }
    }

    private static func expectLoss(_ reply: HTTPReply?, _ codes: Set<String> = ["store_unavailable", "outcome_unknown"]) throws {
        let reply = try #require(reply, "no response")
        #expect(reply.status == 503 && codes.contains(reply.problemCode ?? ""), "\(reply.status) \(reply.text)")
    }

    @Test func importFailsIfDatabaseIsLostBeforeLedgerUpdate() async throws {
        try await Self.running(.r2) { fixture, server in
            let proxy = try fixture.proxy
            proxy.inject(.stall(isApplied: true), on: .putObject)
            async let answer = fixture.hub.uploadImport(.small, flow: "job", key: "k")
            try await proxy.wait(for: "the object") { $0.contains { $0.fault != nil && $0.serverStatus == 200 } }
            try await server.kill()
            proxy.release()
            try Self.expectLoss(try await answer)
            try await server.start()
        }
    }

    @Test func outcomeIsUnknownIfDatabaseIsLostDuringLedgerUpdate() async throws {
        try await Self.running(.r2) { fixture, server in
            let proxy = try fixture.proxy
            proxy.inject(.stall(isApplied: true), on: .putObject)
            async let answer = fixture.hub.uploadImport(.small, flow: "job", key: "k")
            try await proxy.wait(for: "the object") { $0.contains { $0.fault != nil && $0.serverStatus == 200 } }
            // Another transaction locks the row, so that the hub's statement is in flight when the server is killed.
            async let holder: [String] =
                (try? await fixture.query(
                    "BEGIN; SELECT id FROM data_imports FOR UPDATE; SELECT pg_sleep(60)")) ?? []
            try await eventually("the row to be locked") {
                try await fixture.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == ["1"]
            }
            proxy.release()
            try await eventually("the hub to wait for the row") {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%summary_text%'"
                return try await fixture.query(sql) == ["1"]
            }
            try await server.kill()
            try Self.expectLoss(try await answer, ["outcome_unknown"])
            _ = await holder
            try await server.start()
        }
    }

    @Test func importFailsIfDatabaseIsLostWhileRowsArrive() async throws {
        try await Self.running(.rows) { fixture, server in
            let upload = try await HalfUpload.begin(.large, flow: "job", key: "k", at: fixture.hub, fixture)
            try await server.kill()
            try Self.expectLoss(try await upload.finish())
            try await server.start()
        }
    }
}
