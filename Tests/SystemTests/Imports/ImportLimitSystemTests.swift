import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// More imports at once than may be.
    @Suite struct ImportLimitSystemTests {
        @Test(
            "over a limit an import waits for another to end",
            arguments: [
                ("FLOWHUB_MAX_ACCOUNT_IMPORTS", 429, "too_many_imports"), ("FLOWHUB_MAX_IMPORTS", 503, "imports_busy"),
            ])
        func limit(_ setting: String, _ status: Int, _ code: String) async throws {
            try await ImportClusterFixture.running(.embedded, [setting: "1"]) { stage in
                let first = try await stage.beginImport()
                let refused = try await stage.hub.handIn(.small, flow: "job")
                #expect(refused.status == status && refused.problemCode == code, "\(refused.text)")
                #expect(refused.text.contains(setting))
                #expect(refused.header("retry-after") == "5")
                #expect(try await stage.endImport(first).status == 201)
                #expect(try await stage.hub.handIn(.small, flow: "job").status == 201)
                let all = try await stage.hub.api.call("GET", "/v1/imports").json.member("imports")?.elements ?? []
                let statuses = all.map { $0.member("status")?.stringValue }
                #expect(statuses == ["stored", "stored"])
            }
        }
    }
}
