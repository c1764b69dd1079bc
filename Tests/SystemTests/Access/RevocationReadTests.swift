import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Revocations that cannot be read from the store, at the start and later.
@Suite(.postgres()) struct RevocationReadTests {
    @Test func readsRevocationsBeforeItListensAndReportsFailedReads() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_LEEWAY": "0"]
        func rename(_ from: String, _ to: String) async throws {
            _ = try await server.query("ALTER TABLE \(from) RENAME TO \(to)", in: database)
        }
        try await PostgresHubs.start(1, server.url(database), environment) { hubs in
            let hub = hubs[0]
            let revoked = TestToken(subject: "anna", issuedIn: -5).header
            let admin = TestToken(subject: "root", scopes: ["admin"]).header
            #expect(
                try await hub.call("POST", "/v1/revocations", headers: [admin], body: #"{"subject":"anna"}"#).status == 201)
            try await hub.kill()

            try await rename("revocations", "hidden")
            async let started: Void = hub.start()
            try await eventually("the failed read being logged") { hub.log.contains("Failed to read revocations") }
            #expect(!hub.log.contains(" Listening "))
            await #expect(throws: (any Error).self) { try await hub.call("GET", "/health/live") }
            try await rename("hidden", "revocations")
            try await started
            #expect(try await hub.call("GET", "/v1/flows", headers: [revoked]).status == 401)

            func detail() async throws -> String? {
                try await hub.call("GET", "/health/ready").json.member("revocations")?.stringValue
            }
            #expect(try await detail() == "current")
            try await rename("revocations", "hidden")
            try await eventually("the failed reads being reported") { try await detail() == "outdated" }
            try await eventually("several failed reads") {
                try await hub.api.metric("flowhub_revocation_read_failures_total") ?? 0 >= 3
            }
            #expect(try await hub.call("GET", "/v1/flows", headers: [revoked]).status == 401)
            #expect(hub.log.components(separatedBy: "Failed to read revocations").count == 3, "once per outage")
            try await rename("hidden", "revocations")
            try await eventually("the reads to succeed") { try await detail() == "current" }
        }
    }
}
