import FlowTestKit
import Testing

@testable import flowhub

/// The hub does not start with an invalid setting, and the error names the setting.
struct SettingsTests {
    struct Row: Sendable {
        var key: String
        var standard: String
        var range: String
    }

    /// Runs a command of the binary in a new folder and waits for its exit.
    static func run(_ arguments: [String], _ environment: [String: String] = [:]) async throws -> (
        exit: ChildProcess.Exit, output: String, errors: String
    ) {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        var all = ["SWIFT_BACKTRACE": "enable=no", "FLOWHUB_DATA": folder.path + "/data", "PORT": "0"]
        all.merge(environment) { $1 }
        let process = try ChildProcess(HubBinary.path(), arguments, environment: all, folder: folder.path)
        do {
            let exit = try await process.waitForExit(within: .seconds(15))
            return (exit, process.output, process.errorOutput)
        } catch {
            await process.destroy()
            throw error
        }
    }

    static func rows() async throws -> [Row] {
        try await Self.run(["settings"]).output.split(separator: "\n").dropFirst(2).map { line in
            let cells = line.split(separator: "|").map { $0.filter { $0 != "`" } }.map { String($0.dropFirst().dropLast()) }
            try #require(cells.count == 4, "\(line)")
            return Row(key: cells[0], standard: cells[1], range: cells[2])
        }
    }

    private static func expectRejected(_ key: String, _ value: String) async throws {
        let (exit, _, errors) = try await Self.run(["serve"], [key: value])
        #expect(exit == .code(2), "\(key)=\(value): \(errors)")
        #expect(errors.contains(key), "\(key)=\(value): \(errors)")
    }

    @Test(arguments: ["FLOWHUB_X", "FLOWHUB_MAX_CONECTIONS", "FLOWHUB_"])
    func rejectsUnknownSetting(_ key: String) async throws { try await Self.expectRejected(key, "1") }

    @Test func rejectsValuesOutsideRange() async throws {
        let rows = try await Self.rows()
        var checked = 0
        var cases: [(key: String, value: String)] = []
        for row in rows {
            let bounds = row.range.split(separator: " to ").map { String($0) }
            if bounds.count == 2, let lowest = Int64(bounds[0]), let highest = Int64(bounds[1]) {
                cases += ["\(lowest - 1)", "\(highest + 1)", "many"].map { (row.key, $0) }
                checked += 1
            } else if ["true, false", "text, json"].contains(row.range) || row.range.hasPrefix("trace,") {
                cases.append((row.key, "perhaps"))
                checked += 1
            }
        }
        for (key, value) in cases {
            let error = #expect(throws: (any Error).self, "\(key)=\(value)") {
                try HubConfiguration(environment: [key: value])
            }
            #expect(error.map { "\($0)".contains(key) } == true, "\(key)=\(value): \(error.map { "\($0)" } ?? "no error")")
        }
        // `serve` itself, one of each kind.
        for value in ["-1", "many", "perhaps"] {
            let found = try #require(cases.first { $0.value == value })
            try await Self.expectRejected(found.key, value)
        }
        #expect(checked > 25, "the table of settings was not parsed")
    }

    @Test func rejectsShortKeyInvalidOriginAndMissingKeySet() async throws {
        try await Self.expectRejected("FLOWHUB_CORS_ORIGINS", "https://a.example/path")
        for (key, value) in [("FLOWHUB_JWT_KEY", "short"), ("FLOWHUB_JWKS", "/nowhere/keys.json")] {
            let (exit, _, errors) = try await Self.run(["serve"], [key: value])
            #expect([.code(1), .code(2)].contains(exit))
            #expect(errors.contains(key), "\(errors)")
        }
    }
}
