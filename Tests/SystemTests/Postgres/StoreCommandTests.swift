import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Commands that open the store directly.
@Suite(.serialized, .postgres()) struct StoreCommandTests {
    private static func run(
        _ arguments: [String], _ environment: [String: String]
    ) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
        try await SettingsTests.run(arguments, environment)
    }

    @Test("flows exported from the embedded store continue in Postgres with versions, history, fences and tombstones")
    func exportedFlowsContinueInPostgres() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let file = folder.path + "/flows.ndjson"
        let (job, history) = try await HubProcess.running { hub in
            _ = try await hub.api.put("job", try jsonText(#"{"status":"running","text":"\u0000 \"quoted\" 1e2","n":1.50}"#))
            for first in stride(from: 0, to: 1_200, by: 100) {
                _ = try await hub.api.publish((first..<first + 100).map { ("tick", try jsonText("\($0)")) }, to: "job")
            }
            _ = try await hub.api.with(header: "Fencing-Token", "r=7").patch("job", try jsonText(#"{"n":2}"#))
            _ = try await hub.api.put("gone", try jsonText(#"{"n":1}"#))
            _ = try await hub.api.delete("gone")
            #expect(try await hub.call("POST", "/v1/revocations", body: #"{"subject":"eve"}"#).status < 300)
            let keyed = try await hub.api.with(header: "Idempotency-Key", "k").patch("job", try jsonText(#"{"k":1}"#))
            #expect(keyed.version == 1_203)
            let exported = try await hub.command(["flows", "export"])
            #expect(exported.exit == .code(0), "\(exported.errors)")
            #expect(exported.output.hasSuffix("}\n") && exported.output.contains("\n{\"fencing_token\":"))
            try exported.output.write(toFile: file, atomically: true, encoding: .utf8)
            return (try #require(try await hub.api.state(of: "job")), try #require(try await hub.api.history(of: "job")))
        }
        let environment = ["DATABASE_URL": server.url(database)]
        #expect(try await Self.run(["migrate"], environment).exit == .code(0))
        let imported = try await Self.run(["flows", "import", file], environment)
        #expect(imported.exit == .code(0), "\(imported.errors)")
        #expect(imported.errors.contains("1 revocations and 1 replies imported"))
        #expect(imported.errors.contains("2 flows with 1205 events imported"))
        let again = try await Self.run(["flows", "import", file], environment)
        #expect(again.exit == .code(0))
        #expect(again.errors.contains("0 flows with 0 events imported, 2 already existed"))
        try await PostgresHubs.start(1, server.url(database), [:]) { hubs in
            let api = hubs[0].api
            let moved = try #require(try await api.state(of: "job"))
            #expect(moved.state == job.state)
            #expect(moved.version == job.version)
            let repeated = try await api.with(header: "Idempotency-Key", "k").patch("job", try jsonText(#"{"k":1}"#))
            #expect(repeated.replayed && repeated.version == 1_203)
            #expect(try await server.query("SELECT subject FROM revocations", in: database) == "eve")
            let movedHistory = try #require(try await api.history(of: "job"))
            #expect(movedHistory.events == history.events)
            #expect(try await api.with(header: "Fencing-Token", "r=6").patch("job", try jsonText(#"{"n":3}"#)).status == 409)
            #expect(try await api.state(of: "gone") == nil)
            #expect(try await api.put("gone", try jsonText(#"{"n":2}"#)).version == 3)
            // A lock that is acquired here gets a higher fencing token than earlier holders had.
            let lock = try await hubs[0].call("POST", "/v1/locks/r", body: "{}")
            #expect(try #require(lock.json.member("fencing_token")?.intValue) > 7)
        }
        let other = try await Self.run(["flows", "import", file], environment)
        #expect(other.exit == .code(4))
        #expect(other.errors.contains("flow gone was left unchanged: the store has version 3, the file has version 2."))
        try "{\"flow_id\":\"x\"}\n".write(toFile: file, atomically: true, encoding: .utf8)
        let bad = try await Self.run(["flows", "import", file], environment)
        #expect(bad.exit == .code(1))
        #expect(bad.errors.contains("line 1"))
    }

    @Test func doctorReportsFindingsAndAdvice() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        func examine(_ url: String) async throws -> (exit: ChildProcess.Exit, findings: [String: JSONText]) {
            let (exit, output, _) = try await Self.run(["doctor", "--json"], ["DATABASE_URL": url])
            let list = try JSONText(validating: Array(output.utf8)).elements
            return (exit, Dictionary(uniqueKeysWithValues: list.map { ($0.member("subject")?.stringValue ?? "", $0) }))
        }
        func level(_ finding: JSONText?) -> String { finding?.member("level")?.stringValue ?? "none" }

        let fresh = try await examine(server.url(database))
        #expect(fresh.exit == .code(0))
        #expect(level(fresh.findings["postgres.connection"]) == "ok")
        #expect(level(fresh.findings["postgres.migrations"]) == "warning")
        // The test server runs without fsync.
        #expect(level(fresh.findings["postgres.durability"]) == "warning")
        #expect(fresh.findings["postgres.pooler"]?.member("text")?.stringValue?.hasPrefix("no pooler") == true)
        #expect(try await Self.run(["migrate"], ["DATABASE_URL": server.url(database)]).exit == .code(0))
        #expect(level(try await examine(server.url(database)).findings["postgres.migrations"]) == "ok")
        try await PgBouncer.running(before: server) { bouncer in
            let pooled = try await examine(bouncer.url(database))
            #expect(pooled.findings["postgres.pooler"]?.member("text")?.stringValue?.hasPrefix("a pooler") == true)
        }
        try await PgBouncer.running(before: server, mode: "statement") { bouncer in
            let rejecting = try await examine(bouncer.url(database))
            #expect(rejecting.exit == .code(1) && level(rejecting.findings["postgres.pooler"]) == "failure")
            let advice = rejecting.findings["postgres.pooler"]?.member("advice")?.stringValue
            #expect(advice?.contains("pool_mode") == true, "\(rejecting.findings)")
        }
        let nowhere = try await examine("postgres://flowhub@127.0.0.1:1/none")
        #expect(nowhere.exit == .code(1))
        #expect(level(nowhere.findings["postgres.connection"]) == "failure")
        #expect(nowhere.findings["postgres.connection"]?.member("advice")?.stringValue?.contains("DATABASE_URL") == true)
        let missing = try await examine(server.url("no_such_database"))
        #expect(missing.findings["postgres.connection"]?.member("advice")?.stringValue?.contains("database") == true)
        // The diagnostics change nothing.
        let untouched = try await server.createDatabase()
        _ = try await examine(server.url(untouched))
        #expect(try await server.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", in: untouched) == "0")
    }

    @Test(
        arguments: [
            "postgrs://hub:s3cret@127.0.0.1/hub?sslmode=disable", "postgres://hub:s3cret/x@127.0.0.1/hub", "hub:s3cret",
        ])
    func rejectsInvalidDatabaseURLWithoutShowingPassword(_ url: String) async throws {
        for command in ["serve", "doctor", "migrate"] {
            let (exit, output, errors) = try await Self.run([command], ["DATABASE_URL": url])
            #expect(exit == .code(2))
            #expect(errors.contains("DATABASE_URL") && errors.contains("postgres://user:password@host"))
            #expect(!(output + errors).contains("s3cret"))
        }
    }

    @Test func unavailableDatabaseErrorHidesAddress() async throws {
        try await PostgresServer.running { server in
            try await PostgresHubs.running(1, on: server) { hubs in
                try await server.kill()
                try await eventually("the hub to report the outage") {
                    let reply = try await hubs[0].call(
                        "PATCH", "/v1/flows/job/state", headers: [("Content-Type", "application/json")], body: "{}")
                    #expect(reply.status == 503)
                    #expect(!reply.text.contains("127.0.0.1") && !reply.text.contains("\(server.port)"))
                    // The cause is for the operator only.
                    return hubs[0].log.contains("cannot connect to the database")
                }
            }
        }
    }

    @Test("migrate has a status and a dry run, and a hub with FLOWHUB_MIGRATE=false rejects a database without the schema")
    func migrateShowsStatusAndDryRunBeforeApplying() async throws {
        let server = try SharedPostgres.server
        let environment = ["DATABASE_URL": server.url(try await server.createDatabase())]
        let before = try await Self.run(["migrate", "--status"], environment)
        #expect(before.exit == .code(1))
        #expect(before.output.contains("missing  0001_flows"))
        let dry = try await Self.run(["migrate", "--dry-run"], environment)
        #expect(dry.exit == .code(0))
        #expect(dry.output.contains("CREATE TABLE flows"))
        let unwilling = try await Self.run(["serve"], environment.merging(["FLOWHUB_MIGRATE": "false"]) { $1 })
        #expect(unwilling.exit == .code(1))
        #expect(unwilling.errors.contains("0001_flows") && unwilling.errors.contains("flowhub migrate"))
        #expect(try await Self.run(["migrate"], environment).output.contains("Applied: 0001_flows"))
        let after = try await Self.run(["migrate", "--status"], environment)
        #expect(after.exit == .code(0))
        #expect(!after.output.contains("missing"))
        #expect(try await Self.run(["migrate"], [:]).exit == .code(2))
    }
}
