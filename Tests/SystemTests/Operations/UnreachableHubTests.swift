import FlowTestKit
import Testing

/// Commands without a reachable hub.
struct UnreachableHubTests {
    @Test func commandFailsWithinSecondsIfHubIsUnreachable() async throws {
        let start = ContinuousClock.now
        // No program listens on port 1.
        let (exit, output, errors) = try await SettingsTests.run(["flows"], ["FLOWHUB_URL": "http://127.0.0.1:1"])
        #expect(ContinuousClock.now - start < .seconds(10))
        #expect(exit == .code(3) && output.isEmpty)
        let lines = errors.split(separator: "\n")
        #expect(lines.count == 2, "\(errors)")
        #expect(lines.first?.hasSuffix("(connection refused); retrying") == true, "\(errors)")
        #expect(lines.last?.contains("--url") == true)
    }
}
