import FlowCore
import FlowTestKit
import Testing

/// `flowhub doctor` with Redis users that lack permissions.
@Suite struct RedisDoctorTests {
    @Test(arguments: [
        ("all", []), ("nosubscribe", ["SUBSCRIBE hub:canary:*", "SUBSCRIBE hub:control:*", "SUBSCRIBE flow:updates:*"]),
        ("nochannels", ["PUBLISH hub:canary:*", "SUBSCRIBE flow:updates:*"]), ("nokeys", ["SET lock:*", "HSET"]),
        ("readonly", ["SET flow:state:*", "SADD", "INCRBY", "DEL"]), ("noscripts", ["EVAL"]),
    ])
    func namesMissingPermissions(_ user: String, _ missing: [String]) async throws {
        let rules = [
            "all": "+@all ~* &*", "nosubscribe": "+@all -subscribe ~* &*", "nochannels": "+@all ~* resetchannels",
            "nokeys": "+@all ~flow:* &*", "readonly": "+@all %R~* &*", "noscripts": "+@all -@scripting ~* &*",
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
                for what in missing { #expect(text.contains(what), "\(user): \(text)") }
                #expect(run.exit == .code(missing.isEmpty ? 0 : 1))
                #expect(try await server.command(["DBSIZE"]) == "0")
            }
        }
    }
}
