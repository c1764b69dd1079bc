import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Revocations, scopes, locks and open mode.
struct RevocationSystemTests {
    private static let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_LEEWAY": "0"]

    @Test func revocationEndsStreamsRejectsTokenAndSurvivesRestart() async throws {
        try await HubProcess.running(Self.environment) { hub in
            let anna = TestToken(subject: "anna", issuedIn: -5)
            let annaText = anna.text
            func stream(_ token: String) async throws -> EventStreamClient {
                let stream = EventStreamClient(
                    .flow("f").with { $0.headers = [("Authorization", "Bearer \(token)")] }, port: hub.port)
                try await stream.connect()
                return stream
            }
            let revoked = try await stream(annaText)
            let unaffected = [
                try await stream(TestToken(subject: "ben", issuedIn: -5).text),
                try await stream(TestToken(subject: "anna", account: "8", issuedIn: -5).text),
            ]
            for stream in [revoked] + unaffected { _ = try await stream.next(event: "snapshot") }
            let admin = hub.api.with(header: "Authorization", "Bearer \(TestToken(subject: "root", scopes: ["admin"]).text)")
            let now = Int64(Date().timeIntervalSince1970)
            let reply = try await admin.call(
                "POST", "/v1/revocations", jsonText("{\"subject\":\"anna\",\"not_before\":\(now)}"))
            #expect(reply.status == 201, "\(reply.text)")
            try await revoked.waitUntilEnded(within: .seconds(5))
            #expect(revoked.log.newest.last?.json.string == #"{"type":"closing","reason":"revoked","reconnect":false}"#)
            #expect(unaffected.allSatisfy { $0.isConnected })

            func expectRejected() async throws {
                for target in ["/v1/flows", "/v1/flows/f/events"] {
                    let reply = try await hub.call("GET", target, headers: [("Authorization", "Bearer \(annaText)")])
                    #expect(reply.status == 401 && reply.problemCode == "token_revoked", "\(reply.text)")
                }
            }
            try await expectRejected()
            try await hub.kill()
            try await hub.start()
            try await expectRejected()
            #expect(try await stream(TestToken(subject: "anna", account: "8", issuedIn: -5).text).log.status == 200)
            // Tokens issued in the second of `not_before` stay valid: the revocation applies to those issued before it.
            #expect(try await stream(TestToken(subject: "anna", issuedIn: 0).text).log.status == 200)
        }
    }

    @Test func returnsEffectiveRevocationTimeAndRejectsInvalid() async throws {
        try await HubProcess.running(Self.environment) { hub in
            let admin = TestToken(subject: "root", scopes: ["admin"]).header
            func revoke(_ notBefore: String) async throws -> HTTPReply {
                try await hub.call(
                    "POST", "/v1/revocations", headers: [admin], body: "{\"subject\":\"anna\",\"not_before\":\(notBefore)}")
            }
            let now = Int64(Date().timeIntervalSince1970)
            for notBefore in ["\(now * 1_000)", "\(now + 90_000)", "-1", "\"now\""] {
                let reply = try await revoke(notBefore)
                #expect(reply.status == 422 && reply.problemCode == "bad_revocation", "\(notBefore): \(reply.text)")
            }
            #expect(try await revoke("\(now * 1_000)").text.contains("milliseconds"))
            for (asked, holds) in [(now - 100, now - 100), (now + 3_600, now + 3_600), (now - 50, now + 3_600)] {
                let reply = try await revoke("\(asked)")
                #expect(reply.status == 201 && reply.json.member("not_before")?.intValue == holds, "\(reply.text)")
            }
        }
    }

    @Test func revocationWithoutTimeHitsTokenIssuedAheadOfClock() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub in
            let ahead = TestToken(subject: "anna", issuedIn: 50)
            #expect(try await hub.call("GET", "/v1/flows", headers: [ahead.header]).status == 200)
            let admin = TestToken(subject: "root", scopes: ["admin"]).header
            #expect(
                try await hub.call("POST", "/v1/revocations", headers: [admin], body: #"{"subject":"anna"}"#).status == 201)
            let reply = try await hub.call("GET", "/v1/flows", headers: [ahead.header])
            #expect(reply.status == 401 && reply.problemCode == "token_revoked", "\(reply.text)")
        }
    }

    /// Somebody with a stolen token of the scope `admin` cannot prevent its revocation.
    @Test func accountIsRevokedAlthoughItsRevocationsAreFull() async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_LEEWAY": "0", "FLOWHUB_MAX_ACCOUNT_REVOCATIONS": "2",
        ]
        try await HubProcess.running(environment) { hub in
            let (thief, owner) = (TestToken(subject: "thief", scopes: ["admin"]), TestToken(subject: "owner", scopes: ["admin"]))
            func revoke(_ token: TestToken, _ body: String) async throws -> HTTPReply {
                try await hub.call("POST", "/v1/revocations", headers: [token.header], body: body)
            }
            for subject in ["x", "y"] { #expect(try await revoke(thief, "{\"subject\":\"\(subject)\"}").status == 201) }
            #expect(try await revoke(owner, #"{"subject":"thief"}"#).problemCode == "account_revocations_full")
            let now = Int64(Date().timeIntervalSince1970)
            for body in [
                "{\"all_subjects\":true,\"not_before\":\(now + 600)}", #"{"all_subjects":true,"subject":"thief"}"#,
                #"{"all_subjects":false}"#, #"{"subject":""}"#,
            ] {
                let reply = try await revoke(owner, body)
                #expect(reply.status == 422 && reply.problemCode == "bad_revocation", "\(reply.text)")
            }
            let stream = EventStreamClient(.flow("f").with { $0.headers = [thief.header] }, port: hub.port)
            try await stream.connect()
            _ = try await stream.next(event: "snapshot")
            let reply = try await revoke(owner, #"{"all_subjects":true}"#)
            #expect(reply.status == 201 && reply.json.member("all_subjects")?.boolValue == true, "\(reply.text)")
            let notBefore = try #require(reply.json.member("not_before")?.intValue)
            #expect((now...now + 60).contains(notBefore - 1))
            try await stream.waitUntilEnded(within: .seconds(5))
            for token in [thief, owner] {
                let reply = try await hub.call("GET", "/v1/flows", headers: [token.header])
                #expect(reply.status == 401 && reply.problemCode == "token_revoked", "\(reply.text)")
            }
            #expect(try await hub.call("GET", "/v1/flows", headers: [TestToken(account: "8").header]).status == 200)
            try await hub.kill()
            try await hub.start()
            #expect(try await hub.call("GET", "/v1/flows", headers: [thief.header]).status == 401)
            var fresh = TestToken(scopes: ["admin"])
            try await eventually("new tokens") {
                fresh.issuedIn = 0
                return try await hub.call("GET", "/v1/flows", headers: [fresh.header]).status == 200
            }
            // There is room again.
            #expect(try await revoke(fresh, #"{"subject":"thief"}"#).status == 201)
        }
    }

    @Test func limitsLifetimeOfTokensAndDeletesRevocationsAfterIt() async throws {
        let environment = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_LEEWAY": "0", "FLOWHUB_JWT_MAX_SECONDS": "600",
            "FLOWHUB_PRUNE_SECONDS": "1", "FLOWHUB_SWEEP_SECONDS": "1",
        ]
        try await HubProcess.running(environment) { hub in
            #expect(try await hub.call("GET", "/v1/flows", headers: [TestToken(expiresIn: 590).header]).status == 200)
            let long = try await hub.call("GET", "/v1/flows", headers: [TestToken(expiresIn: 660).header])
            #expect(long.status == 401 && long.problemCode == "token_invalid", "\(long.text)")
            let admin = TestToken(subject: "root", scopes: ["admin"], expiresIn: 590).header
            let now = Int64(Date().timeIntervalSince1970)
            for (subject, age) in [("anna", Int64(700)), ("ben", Int64(0))] {
                let reply = try await hub.call(
                    "POST", "/v1/revocations", headers: [admin],
                    body: "{\"subject\":\"\(subject)\",\"not_before\":\(now - age)}")
                #expect(reply.status == 201)
            }
            #expect(try await hub.api.metric("flowhub_revocations") == 2)
            // After the longest lifetime of a token since they were stored.
            try await hub.kill()
            try await hub.start(adding: ["FLOWHUB_JWT_MAX_SECONDS": "1"])
            try await eventually("the revocations being deleted", within: .seconds(15)) {
                try await hub.api.metric("flowhub_revocations") == 0
            }
        }
    }

    @Test func eachRouteRequiresItsScope() async throws {
        try await HubProcess.running(Self.environment) { hub in
            let calls: [(String, String, String?, scope: String)] = [
                ("POST", "/v1/revocations", #"{"subject":"x"}"#, "admin"), ("DELETE", "/v1/connections/i.1", nil, "admin"),
                ("POST", "/v1/locks/r", "{}", "locks"), ("PUT", "/v1/locks/r?lock_id=x", "{}", "locks"),
                ("DELETE", "/v1/locks/r?lock_id=x", nil, "locks"),
                ("PUT", "/v1/patterns/p", #"{"pattern":1,"confidence":1}"#, "patterns"),
                ("GET", "/v1/patterns/p", nil, "patterns"), ("DELETE", "/v1/patterns/p", nil, "patterns"),
            ]
            let all = ["locks", "patterns", "imports", "admin"]
            for (method, target, body, scope) in calls {
                let without = TestToken(scopes: all.filter { $0 != scope })
                let refused = try await hub.call(method, target, headers: [without.header], body: body)
                #expect(refused.status == 403 && refused.problemCode == "forbidden", "\(method) \(target): \(refused.text)")
                #expect(refused.json.member("detail")?.stringValue?.contains(scope) == true)
                let allowed = try await hub.call(method, target, headers: [TestToken(scopes: [scope]).header], body: body)
                #expect(allowed.status != 403 && allowed.status < 500, "\(method) \(target): \(allowed.text)")
            }
        }
    }

    @Test func onlyAdminOfAccountCanEndConnection() async throws {
        try await HubProcess.running(Self.environment) { hub in
            let stream = EventStreamClient(.flow("f").with { $0.headers = [TestToken().header] }, port: hub.port)
            try await stream.connect()
            _ = try await stream.next(event: "snapshot")
            let admin = TestToken(subject: "root", scopes: ["admin"])
            func listed() async throws -> [JSONText] {
                try await hub.call("GET", "/v1/flows/f/connections", headers: [admin.header]).json.member("connections")?.elements
                    ?? []
            }
            try await eventually("the connection being listed") { try await listed().count == 1 }
            let entry = try await listed()[0]
            #expect(entry.member("subject")?.stringValue == "anna" && entry.member("remote")?.stringValue == "127.0.0.1")
            let target = "/v1/connections/" + (entry.member("connection_id")?.stringValue ?? "")
            #expect(
                try await hub.call("DELETE", target, headers: [TestToken(account: "8", scopes: ["admin"]).header]).status == 404)
            #expect(stream.isConnected)
            #expect(try await hub.call("DELETE", target, headers: [admin.header]).status == 204)
            try await stream.waitUntilEnded()
            try await eventually("the connection being gone") { try await listed().isEmpty }
            #expect(try await hub.call("DELETE", target, headers: [admin.header]).status == 404)
            try await stream.connect()
            #expect(stream.log.status == 200)
        }
    }

    @Test func servesWithoutKeysOnLoopbackOnly() async throws {
        let (exit, _, errors) = try await SettingsTests.run(["serve", "--host", "0.0.0.0"])
        #expect(exit == .code(2))
        #expect(errors.contains("FLOWHUB_JWT_KEY") && errors.contains("0.0.0.0"))
        #expect(try await SettingsTests.run(["serve"], ["FLOWHUB_HOST": "::"]).exit == .code(2))
        try await HubProcess.running { hub in
            #expect(hub.log.contains("No JWT key configured"))
            let status = try await hub.call("GET", "/v1/flows").status
            #expect(status == 200)
        }
        try await HubProcess.running(Self.environment.merging(["FLOWHUB_HOST": "0.0.0.0"]) { $1 }) { hub in
            #expect(!hub.log.contains("No JWT key configured"))
            let status = try await hub.call("GET", "/v1/flows").status
            #expect(status == 401)
        }
    }
}
