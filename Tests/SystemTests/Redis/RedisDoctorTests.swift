import FlowCore
import FlowTestKit
import Testing

/// `flowhub doctor` with Redis users that lack permissions.
@Suite struct RedisDoctorTests {
    @Test(arguments: [
        ("all", [], []),
        ("nosubscribe", ["SUBSCRIBE hub:canary:*", "SUBSCRIBE hub:control:*", "SUBSCRIBE flow:updates:*"], []),
        ("nochannels", ["PUBLISH hub:canary:*", "SUBSCRIBE flow:updates:*"], ["PSUBSCRIBE flow:updates:*"]),
        ("nokeys", ["SET lock:*", "HSET"], []), ("readonly", ["SET flow:state:*", "SADD", "INCRBY", "DEL"], []),
        ("noscripts", ["EVAL"], []), ("nopattern", [], ["PSUBSCRIBE flow:updates:*"]), ("nopubsub", [], ["PUBSUB"]),
    ])
    func namesMissingPermissions(_ user: String, _ missing: [String], _ missingForForeign: [String]) async throws {
        let rules = [
            "all": "+@all ~* &*", "nosubscribe": "+@all -subscribe ~* &*", "nochannels": "+@all ~* resetchannels",
            "nokeys": "+@all ~flow:* &*", "readonly": "+@all %R~* &*", "noscripts": "+@all -@scripting ~* &*",
            "nopattern": "+@all -psubscribe ~* &*", "nopubsub": "+@all -pubsub ~* &*",
        ]
        let options = rules.map { "user \($0.key) on >pw \($0.value)" }
        try await RedisServer.running(options: options) { server in
            try await HubProcess.running { hub in
                let run = try await hub.command(
                    ["doctor", "--json"], adding: ["REDIS_URL": "redis://\(user):pw@127.0.0.1:\(server.port)"])
                let findings = try JSONText(validating: Array(run.output.utf8)).elements
                let finding = try #require(
                    findings.first { $0.member("subject")?.stringValue == "redis.rights" }, "\(run.output)")
                let text = finding.member("text")?.stringValue ?? ""
                #expect(finding.member("level")?.stringValue == (missing.isEmpty ? "ok" : "failure"), "\(text)")
                // The hub has no keys, so it applies foreign updates.
                let foreign = try #require(
                    findings.first { $0.member("subject")?.stringValue == "redis.foreign" }, "\(run.output)")
                let foreignText = foreign.member("text")?.stringValue ?? ""
                #expect(foreign.member("level")?.stringValue == (missingForForeign.isEmpty ? "ok" : "failure"), "\(foreignText)")
                for what in missingForForeign { #expect(foreignText.contains(what), "\(user): \(foreignText)") }
                for what in missing { #expect(text.contains(what), "\(user): \(text)") }
                #expect(run.exit == .code(missing.isEmpty && missingForForeign.isEmpty ? 0 : 1))
                #expect(try await server.command(["DBSIZE"]) == "0")
                // With another policy the hub needs neither.
                let deliver = try await hub.command(
                    ["doctor"],
                    adding: ["REDIS_URL": "redis://\(user):pw@127.0.0.1:\(server.port)", "FLOWHUB_SEED_UPDATES": "deliver"])
                #expect(deliver.exit == .code(missing.isEmpty ? 0 : 1) && !deliver.output.contains("redis.foreign"), "\(deliver)")
            }
        }
    }
}
