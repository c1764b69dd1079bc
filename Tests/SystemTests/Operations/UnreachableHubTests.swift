import FlowTestKit
import Testing

/// Commands whose hub is not there.
struct UnreachableHubTests {
    @Test("a command says at once that the hub is not reachable, and gives up in a few seconds")
    func refused() async throws {
        let began = ContinuousClock.now
        // Port 1 is nobody's.
        let (exit, output, errors) = try await SettingsTests.run(["flows"], ["FLOWHUB_URL": "http://127.0.0.1:1"])
        #expect(ContinuousClock.now - began < .seconds(10))
        #expect(exit == .code(3) && output.isEmpty)
        let lines = errors.split(separator: "\n")
        #expect(lines.count == 2, "\(errors)")
        #expect(lines.first?.hasSuffix("is not reachable (connection refused), trying again") == true, "\(errors)")
        #expect(lines.last?.contains("--url") == true)
    }
}
