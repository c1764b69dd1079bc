import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests of the limits of concurrent imports.
    @Suite struct ImportLimitSystemTests {
        @Test(
            arguments: [
                ("FLOWHUB_MAX_ACCOUNT_IMPORTS", 429, "too_many_imports"), ("FLOWHUB_MAX_IMPORTS", 503, "imports_busy"),
            ])
        func rejectsImportsOverLimitUntilOneEnds(_ setting: String, _ status: Int, _ code: String) async throws {
            try await ImportClusterFixture.running(.embedded, [setting: "1"]) { cluster in
                let first = try await cluster.beginImport()
                let rejected = try await cluster.hub.uploadImport(.small, flow: "job")
                #expect(rejected.status == status && rejected.problemCode == code, "\(rejected.text)")
                #expect(rejected.text.contains(setting))
                #expect(rejected.header("retry-after") == "5")
                #expect(try await cluster.endImport(first).status == 201)
                #expect(try await cluster.hub.uploadImport(.small, flow: "job").status == 201)
                let all = try await cluster.hub.api.call("GET", "/v1/imports").json.member("imports")?.elements ?? []
                let statuses = all.map { $0.member("status")?.stringValue }
                #expect(statuses == ["stored", "stored"])
            }
        }
    }
}
