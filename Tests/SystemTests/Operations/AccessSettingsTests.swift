import FlowTestKit
import Testing

/// What the program says about settings of access that may be mistakes.
struct AccessSettingsTests {
    @Test func keylessHubRefusesNamesThatOnlyLookLikeLoopbackAddresses() async throws {
        try await HubProcess.running { hub in
            for host in ["127.a.example.com", "127.0.0.example", "127.0.0.1.example", "0.0.0.0"] {
                let result = try await hub.command(["serve", "--port", "0", "--host", host])
                #expect(result.exit == .code(2) && result.errors.contains("Refusing to listen on \(host)"), "\(result)")
            }
        }
    }

    @Test func doctorWarnsOfMissingAudience() async throws {
        try await HubProcess.running { hub in
            let without = try await hub.command(["doctor"], adding: ["FLOWHUB_JWT_KEY": TestToken.key])
            #expect(without.output.contains("Set FLOWHUB_JWT_AUDIENCE"), "\(without)")
            let with = try await hub.command(
                ["doctor"], adding: ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_AUDIENCE": "hub"])
            #expect(!with.output.contains("FLOWHUB_JWT_AUDIENCE, unless"), "\(with)")
        }
    }

    /// Tokens of `flowhub token` are for the hub with the same settings.
    @Test func tokenCommandNamesTheIssuer() async throws {
        let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_ISSUER": "https://issuer.example"]
        try await HubProcess.running(environment) { hub in
            let minted = try await hub.command(["token", "--subject", "a", "--account", "7"], adding: environment)
            let token = minted.output.split(whereSeparator: \.isWhitespace).first.map { String($0) } ?? ""
            #expect(try await hub.call("GET", "/v1/flows", headers: [("Authorization", "Bearer \(token)")]).status == 200)
            let other = try await hub.call("GET", "/v1/flows", headers: [TestToken().header])
            #expect(other.status == 401 && other.text.contains("iss"), "\(other.text)")
        }
    }
}
