import FlowCore
import FlowTestKit
import Testing

/// A data folder can only be used by one hub at a time.
struct DataFolderTests {
    @Test func rejectsSecondHubOnSameFolder() async throws {
        try await HubProcess.running { hub in
            #expect(try await hub.api.publish("first", .null, to: "f").status == 201)
            let second = try await hub.command(["serve", "--port", "0"])
            #expect(second.exit == .code(1))
            #expect(second.errors.contains(hub.dataFolder) && second.errors.contains("--data"), "\(second.errors)")
            #expect(try await hub.api.publish("second", .null, to: "f").version == 2, "the first hub must continue to work")
        }
    }

    @Test func killedHubReleasesDataFolder() async throws {
        try await HubProcess.running { hub in
            try await hub.kill()
            try await hub.start()
            let shown = try await hub.command(["epoch", "show"])
            let raised = try await hub.command(["epoch", "bump"])
            #expect(shown.exit == .code(0) && raised.exit == .code(0))
            #expect(shown.output != raised.output && !raised.output.isEmpty)
        }
    }
}
