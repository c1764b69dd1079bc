import FlowCore
import FlowTestKit
import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// The log as JSON.
struct LogFormatTests {
    @Test func jsonLogHasNumbersAndVersion() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let environment = [
            "FLOWHUB_LOG_FORMAT": "json", "FLOWHUB_DATA": folder.path + "/data", "PORT": "0", "FLOWHUB_DRAIN_SECONDS": "1",
            "FLOWHUB_INSTANCE": "12",
        ]
        let hub = try ChildProcess(HubBinary.path(), ["serve"], environment: environment, folder: folder.path)
        do {
            try await eventually("the hub to listen") { hub.errorOutput.contains(#""message":"Listening""#) }
            hub.send(SIGTERM)
            #expect(try await hub.waitForExit() == .code(0))
        } catch {
            await hub.destroy()
            throw error
        }
        let lines = try Self.lines(hub.errorOutput)
        let version = try await SettingsTests.run(["--version"]).output.trimmingCharacters(in: .whitespacesAndNewlines)
        #expect(Self.line("Listening", in: lines)?.member("version")?.stringValue == version)
        let draining = Self.line("Draining streams", in: lines)
        #expect(draining?.member("streams")?.intValue == 0 && draining?.member("seconds")?.intValue == 1)
        #expect(draining?.member("instance")?.stringValue == "12", "text stays text")
    }

    /// Failures to start are lines of the log too: of a setting, of the store, of the port.
    @Test func startFailuresAreLoggedAsJSON() async throws {
        let json = ["FLOWHUB_LOG_FORMAT": "json"]
        let failures: [([String: String], Int32, String)] = [
            (["FLOWHUB_X": "1"], 2, "FLOWHUB_X"), (["FLOWHUB_HOST": "0.0.0.0"], 2, "JWT key"),
            (["FLOWHUB_JWKS": "/nowhere/keys.json"], 2, "/nowhere/keys.json"),
            (["FLOWHUB_DATA": "/dev/null/data"], 1, "/dev/null/data"),
        ]
        for (environment, code, part) in failures {
            let (exit, _, errors) = try await SettingsTests.run(["serve"], json.merging(environment) { $1 })
            #expect(exit == .code(code))
            let line = try #require(Self.line("Hub ended with an error", in: try Self.lines(errors)), "\(errors)")
            #expect(line.member("level")?.stringValue == "critical")
            #expect(line.member("error")?.stringValue?.contains(part) == true, "\(line.string)")
        }
    }

    @Test func epochChangeIsLoggedInWords() async throws {
        try await HubProcess.running(["FLOWHUB_SWEEP_SECONDS": "1"]) { hub in
            #expect(try await hub.command(["epoch", "bump"]).exit == .code(0))
            try await eventually("the log line") { hub.log.contains("Epoch of the store changed") }
            #expect(!hub.log.contains("epochChanged"))
        }
    }

    /// The lines of a log, each of which must be JSON.
    private static func lines(_ log: String) throws -> [JSONText] {
        try log.split(separator: "\n").map { try JSONText(validating: Array($0.utf8)) }
    }

    private static func line(_ message: String, in lines: [JSONText]) -> JSONText? {
        lines.first { $0.member("message")?.stringValue == message }
    }
}
