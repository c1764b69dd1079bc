import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// A hub that is told to end while an import comes in.
    @Suite struct ImportDrainTests {
        @Test("it has the drain's window to end", arguments: ImportTopology.allCases)
        func window(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp, ["FLOWHUB_DRAIN_SECONDS": "20"]) { stage in
                let exchange = try await stage.beginImport()
                stage.hub.askToEnd()
                try await eventually("the hub to drain") { stage.hub.log.contains("Draining") }
                // Longer than a hub without streams or imports takes to end.
                try await Task.sleep(for: .seconds(3))
                let reply = try await stage.endImport(exchange)
                #expect(reply.status == 201, "\(reply.text)")
                #expect(StoredImport(reply.json)?.total == 9_000)
                #expect(try await stage.hub.waitForExit() == .code(0))
            }
        }

        @Test("what is cut off has cleared up before the hub is gone", arguments: ImportTopology.allCases)
        func cutOff(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp, ["FLOWHUB_DRAIN_SECONDS": "1"]) { stage in
                let exchange = try await stage.beginImport()
                defer { exchange.close() }
                #expect(try await stage.hub.terminate() == .code(0))
                // Its claim is good for a minute yet, so the next hub could not have ended it.
                try await stage.hub.start()
                let all = try await stage.hub.api.call("GET", "/v1/imports").json.member("imports")?.elements ?? []
                #expect(all.map { $0.member("status")?.stringValue } == ["failed"])
                try await stage.waitUntilNothingIsLeft()
            }
        }
    }
}
