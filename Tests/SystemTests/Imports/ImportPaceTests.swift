import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests of uploads that take too long, or longer than their token is valid.
    @Suite struct ImportPaceTests {
        /// Starts an upload of which most is missing.
        private static func begin(_ hub: HubProcess, _ token: TestToken? = nil) async throws -> RawExchange {
            let exchange = try await RawExchange.open(port: hub.port)
            let field = token.map { "\($0.header.name): \($0.header.value)\r\n" } ?? ""
            try await exchange.send(
                "POST /v1/imports?format=ndjson HTTP/1.1\r\nHost: localhost\r\n\(field)Content-Length: 1000000\r\n\r\n{\"n\":1}\n"
            )
            return exchange
        }

        private static func statuses(_ hub: HubProcess, _ headers: [(name: String, value: String)] = []) async throws -> [String?]
        {
            let reply = try await hub.call("GET", "/v1/imports", headers: headers)
            return reply.json.member("imports")?.elements.map { $0.member("status")?.stringValue } ?? []
        }

        @Test(arguments: [
            (["FLOWHUB_IMPORT_MIN_BYTES_PER_SECOND": "1000", "FLOWHUB_IMPORT_GRACE_SECONDS": "2"], "MIN_BYTES_PER_SECOND"),
            (["FLOWHUB_IMPORT_SECONDS": "1"], "FLOWHUB_IMPORT_SECONDS"),
        ])
        func tricklingUploadFreesItsSlot(_ settings: [String: String], _ name: String) async throws {
            try await ImportClusterFixture.running(.embedded, settings.merging(["FLOWHUB_MAX_IMPORTS": "1"]) { $1 }) { cluster in
                let hub = cluster.hub
                let slow = try await Self.begin(hub)
                defer { slow.close() }
                // More often than the time-out between two chunks, and far below the least rate.
                let trickle = Task {
                    while !Task.isCancelled {
                        try await slow.send("{\"n\":2}\n")
                        try await Task.sleep(for: .milliseconds(200))
                    }
                }
                let reply = try await slow.replies(1, within: .seconds(10))[0]
                trickle.cancel()
                #expect(reply.status == 408 && reply.text.contains(name), "\(reply.text)")
                try await eventually("the free slot") { try await hub.send(TestUpload("[1]")).status == 201 }
                #expect(try await Self.statuses(hub) == ["stored", "failed"])
            }
        }

        @Test func uploadEndsWithItsToken() async throws {
            let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_LEEWAY": "0"]
            try await ImportClusterFixture.running(.embedded, environment) { cluster in
                let hub = cluster.hub
                let reader = TestToken(subject: "ben", scopes: ["imports"]).header
                let expiring = try await Self.begin(hub, TestToken(scopes: ["imports"], expiresIn: 2))
                defer { expiring.close() }
                let revoked = try await Self.begin(hub, TestToken(subject: "eve", scopes: ["imports"], issuedIn: -5))
                defer { revoked.close() }
                try await eventually("both imports") { try await Self.statuses(hub, [reader]) == ["pending", "pending"] }
                let admin = TestToken(subject: "root", scopes: ["admin"]).header
                let revocation = try await hub.call("POST", "/v1/revocations", headers: [admin], body: #"{"subject":"eve"}"#)
                #expect(revocation.status == 201)
                for (upload, code) in [(revoked, "token_revoked"), (expiring, "token_expired")] {
                    let reply = try await upload.replies(1, within: .seconds(10))[0]
                    #expect(reply.status == 401 && reply.problemCode == code, "\(reply.text)")
                }
                #expect(try await Self.statuses(hub, [reader]) == ["failed", "failed"])
            }
        }
    }
}
