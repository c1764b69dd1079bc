import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests of a hub that gets SIGTERM during an upload.
    @Suite struct ImportDrainTests {
        @Test func importFinishesWithinDrainWindow() async {
            await concurrently(ImportTopology.allCases, self.importFinishesWithinDrainWindow(_:))
        }

        private func importFinishesWithinDrainWindow(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, ["FLOWHUB_DRAIN_SECONDS": "20"]) { cluster in
                let exchange = try await cluster.beginImport()
                cluster.hub.requestTermination()
                try await eventually("the hub to drain") { cluster.hub.log.contains("Draining") }
                // Longer than a hub without streams and imports needs to exit.
                try await Task.sleep(for: .seconds(3))
                let reply = try await cluster.endImport(exchange)
                #expect(reply.status == 201, "\(reply.text)")
                #expect(StoredImport(reply.json)?.total == 9_000)
                #expect(try await cluster.hub.waitForExit() == .code(0))
            }
        }

        @Test func abortedImportIsRemovedBeforeHubExits() async {
            await concurrently(ImportTopology.allCases, self.abortedImportIsRemovedBeforeHubExits(_:))
        }

        private func abortedImportIsRemovedBeforeHubExits(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, ["FLOWHUB_DRAIN_SECONDS": "1"]) { cluster in
                let exchange = try await cluster.beginImport()
                defer { exchange.close() }
                #expect(try await cluster.hub.terminate() == .code(0))
                // The claim is valid for another minute, so the restarted hub cannot have failed the import.
                try await cluster.hub.start()
                let all = try await cluster.hub.api.call("GET", "/v1/imports").json.member("imports")?.elements ?? []
                #expect(all.map { $0.member("status")?.stringValue } == ["failed"])
                try await cluster.waitUntilNothingIsLeft()
            }
        }
    }
}
