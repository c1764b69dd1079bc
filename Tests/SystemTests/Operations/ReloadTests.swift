import FlowCore
import FlowTestKit
import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Signals that do not end the hub, and the files that it reloads.
struct ReloadTests {
    private static let secrets = ["the first secret, of 32 bytes or more", "the second secret, of 32 bytes or more"]

    @Test func signalsDoNotEndHub() async throws {
        try await HubProcess.running { hub in
            for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGHUP] {
                hub.send(signal)
                let written = try await hub.api.publish("e", .null, to: "f")
                #expect(written.status == 201)
            }
            #expect(try await hub.terminate() == .code(0))
        }
    }

    @Test func rotatesTokenKeysWithoutRestart() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let file = folder.path + "/keys.json"
        try Self.write(Self.keySet(Self.secrets[0]), to: file)
        try await HubProcess.running(["FLOWHUB_JWKS": file]) { hub in
            let tokens = Self.secrets.map { TestToken(secret: $0) }
            func statuses() async throws -> [Int] {
                var statuses: [Int] = []
                for token in tokens { statuses.append(try await hub.call("GET", "/v1/flows", headers: [token.header]).status) }
                return statuses
            }
            #expect(try await statuses() == [200, 401])
            let stream = EventStreamClient(.flow("f").with { $0.headers = [tokens[0].header] }, port: hub.port)
            try await stream.connect()
            _ = try await stream.next(event: "snapshot")

            // The change of the file is noticed.
            try Self.write(Self.keySet(Self.secrets[1]), to: file)
            try await eventually("the second key", within: .seconds(5)) { try await statuses() == [401, 200] }
            #expect(hub.log.contains("Reloaded token keys"))

            // Broken content leaves the keys as they are.
            try Self.write("{\"keys\":[", to: file)
            try await eventually("the report") { try await Self.failedReloads(hub) == ["FLOWHUB_JWKS"] }
            #expect(try await hub.api.call("GET", "/health/ready").status == 200)
            #expect(try await hub.api.metric("flowhub_failed_reloads") == 1)
            #expect(hub.log.contains("Cannot reload FLOWHUB_JWKS; keeping previous token keys"))
            #expect(try await statuses() == [401, 200])
            try FileManager.default.removeItem(atPath: file)
            hub.send(SIGHUP)
            try await eventually("the log line") { hub.log.contains("cannot be read") }
            #expect(try await statuses() == [401, 200])

            // SIGHUP reads the file.
            try Self.write(Self.keySet(Self.secrets[0]), to: file)
            hub.send(SIGHUP)
            try await eventually("the first key", within: .seconds(5)) { try await statuses() == [200, 401] }
            try await eventually("the end of the report") { try await Self.failedReloads(hub).isEmpty }
            // A readable key set without keys withdraws them.
            try Self.write(#"{"keys":[]}"#, to: file)
            try await eventually("no key", within: .seconds(5)) { try await statuses() == [401, 401] }
            #expect(hub.log.contains("FLOWHUB_JWKS has no usable key any more; the tokens of its former keys are rejected"))
            #expect(try await Self.failedReloads(hub).isEmpty)
            // A stream lasts until its token expires or is revoked, whichever keys there are.
            #expect(stream.isConnected)
            #expect(try await hub.terminate() == .code(0))
        }
    }

    private static func failedReloads(_ hub: HubProcess) async throws -> [String] {
        let reply = try await hub.api.call("GET", "/health/ready")
        return (reply.json.member("reload_failed")?.elements ?? []).compactMap(\.stringValue)
    }

    private static func keySet(_ secret: String) -> String {
        let encoded = Data(secret.utf8).base64EncodedString().filter { $0 != "=" }
        return #"{"keys":[{"kty":"oct","alg":"HS256","k":"\#(encoded)"}]}"#
    }

    /// Replaces the file as documented: written beside it and renamed.
    private static func write(_ text: String, to file: String) throws {
        try text.write(toFile: file + ".new", atomically: false, encoding: .utf8)
        try #require(rename(file + ".new", file) == 0)
    }
}
