import FlowCore
import FlowTestKit
import Testing

/// `flowhub watch` of many flows, through a proxy that passes on one byte at a time and cuts connections.
@Suite(.serialized) struct WatchManyFlowsTests {
    private static let settings = ["FLOWHUB_RETRY_MS": "20", "FLOWHUB_HEARTBEAT_SECONDS": "1", "FLOWHUB_LINGER_MS": "100"]

    /// The lines of `watch --json`, as event, flow and version.
    private static func lines(_ output: String) throws -> [(event: String, flow: String, version: Version?, id: String?)] {
        try output.split(separator: "\n").map { line in
            let json = try jsonText(String(line))
            let data = json.member("data")
            return (
                json.member("event")?.stringValue ?? "", data?.member("flow_id")?.stringValue ?? "",
                data?.member("version")?.intValue, json.member("id")?.stringValue
            )
        }
    }

    @Test(arguments: [StreamProxy.Pieces.bytes, .bytesWithCRLF])
    func watchResumesEachFlowAfterCuts(pieces: StreamProxy.Pieces) async throws {
        try await HubProcess.running(Self.settings) { hub in
            let flows = (0..<40).map { "flow-\($0)" }
            let api = hub.api
            // Text of several bytes a character, which the proxy cuts.
            let text = try jsonText(#""größe \u2028 🙂 日本語""#)
            for flow in flows { _ = try await api.publish("first", text, to: flow) }
            try await StreamProxy.running(before: hub.port, pieces: pieces) { proxy in
                let watch = try hub.startCommand(["watch", "--json", "--url", "http://127.0.0.1:\(proxy.port)"] + flows)
                do {
                    func received(_ event: String) throws -> Int { try Self.lines(watch.output).count { $0.event == event } }
                    try await eventually("all snapshots") { try received("caught_up") == 40 }
                    for (number, flow) in flows.enumerated() {
                        _ = try await api.publish("second", text, to: flow)
                        // The cut falls between two events of different flows, or within one.
                        if number % 20 == 10 {
                            try await proxy.cut()
                            try await proxy.release()
                        }
                    }
                    try await eventually("the events") { try received("second") >= 40 }
                    for flow in flows { _ = try await api.put(flow, try jsonText(#"{"status":"completed"}"#)) }
                    #expect(try await watch.waitForExit() == .code(0))
                    let lines = try Self.lines(watch.output)
                    for flow in flows {
                        let own = lines.filter { $0.flow == flow }
                        let durable = own.filter { ["first", "second", "state_update"].contains($0.event) }
                        // Each durable event once and in order; the first is part of the snapshot.
                        #expect(durable.map { $0.version } == [2, 3], "\(flow): \(own)")
                        #expect(own.count { $0.event == "snapshot" } == 1, "\(flow) was resumed by its cursor")
                        #expect(!own.contains { $0.event == "resync" })
                        #expect(durable.allSatisfy { $0.id?.hasSuffix("-\($0.version ?? 0)") == true })
                    }
                    #expect(watch.output.contains("größe \\u2028 🙂 日本語") || watch.output.contains("größe \u{2028} 🙂 日本語"))
                    // The cursor that it prints resumes all flows.
                    let cursor = try #require(watch.errorOutput.split(separator: "; cursor ").last?.split(separator: "\n").first)
                    let again = try await hub.command(
                        ["watch", "--json", "--url", hub.url, "--from", String(cursor)] + flows.reversed())
                    #expect(again.exit == .code(0) && again.output.isEmpty, "\(again)")
                } catch {
                    await watch.destroy()
                    throw error
                }
            }
        }
    }

    @Test func untilFinishedLearnsStatusOfEachFlow() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let flows = (0..<30).map { "flow-\($0)" }
            for flow in flows { _ = try await hub.api.put(flow, try jsonText(#"{"status":"completed"}"#)) }
            let done = try await hub.command(["watch", "--until-finished", "--url", hub.url] + flows)
            #expect(done.exit == .code(0), "\(done)")
            _ = try await hub.api.patch(flows[7], try jsonText(#"{"status":"failed"}"#))
            #expect(try await hub.command(["watch", "--until-finished", "--url", hub.url] + flows).exit == .code(1))
        }
    }

    @Test func rejectsCursorOfOtherFlowsAndTooManyFlows() async throws {
        try await HubProcess.running { hub in
            let other = try await hub.command(["watch", "a", "b", "--url", hub.url, "--from", "7.a-\(FlowSetHash(of: []))-1.2"])
            #expect(other.exit == .code(2) && other.errors.contains("the same flows"), "\(other)")
            let many = try await hub.command(["watch", "--url", hub.url] + (0..<1_001).map { "f\($0)" })
            #expect(many.exit == .code(2) && many.errors.contains("at most 1000 flows"), "\(many)")
        }
    }
}

extension HubProcess {
    fileprivate var url: String { "http://127.0.0.1:\(self.port)" }
}
