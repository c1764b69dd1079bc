import FlowCore
import FlowTestKit
import Testing

/// A feed that shows only some flows, by id and by status.
@Suite(.hub(["FLOWHUB_HEARTBEAT_SECONDS": "1"]))
struct FeedFilterTests {
    private static func feed(_ query: String) throws -> EventStreamClient {
        EventStreamClient(.feed.with { $0.query = query }, port: try SharedHub.hub.port, name: "feed?\(query)")
    }

    private static func flows(_ block: EventBlock) -> [String] {
        (block.json.member("flows")?.elements ?? []).compactMap { $0.member("flow_id")?.stringValue }.sorted()
    }

    private static func set(_ status: String, _ flow: String) async throws {
        let isAcknowledged = try await SharedHub.hub.api.put(flow, try jsonText(#"{"status":"\#(status)"}"#)).isAcknowledged
        #expect(isAcknowledged)
    }

    @Test func filterAppliesToListAndChanges() async throws {
        let api = try SharedHub.hub.api
        // More flows than the list holds, all newer than the wanted ones: the store must apply the filter.
        for flow in ["want-1", "want-2", "exact", "exact-not"] { try await Self.set("running", flow) }
        for number in 0..<101 { _ = try await api.publish("e", .null, to: "other-\(number)") }
        let feed = try Self.feed("flow=want-*&flow=exact")
        try await feed.connect()
        #expect(Self.flows(try await feed.next(event: "flows")) == ["exact", "want-1", "want-2"])
        for flow in ["other-1", "exact-not", "want-1"] { _ = try await api.publish("e", .null, to: flow) }
        #expect(try await feed.next(event: "flow").flow == "want-1")
        _ = try await api.delete("want-2")
        let deletion = try await feed.next(event: "flow")
        #expect(deletion.flow == "want-2" && deletion.json.member("status")?.stringValue == "deleted")
        feed.disconnect()
    }

    @Test func flowThatLeavesTheStatusesIsToldOnce() async throws {
        for (flow, status) in [("s-1", "running"), ("s-2", "waiting"), ("s-3", "done"), ("s-4", "running")] {
            try await Self.set(status, flow)
        }
        let feed = try Self.feed("flow=s-*&status=running,waiting")
        try await feed.connect()
        #expect(Self.flows(try await feed.next(event: "flows")) == ["s-1", "s-2", "s-4"])
        func next() async throws -> String {
            let block = try await feed.next(event: "flow")
            return "\(block.flow ?? "") \(block.json.member("status")?.stringValue ?? "")"
        }
        // Leaves, and then is none of the feed's any more.
        try await Self.set("done", "s-1")
        #expect(try await next() == "s-1 done")
        try await Self.set("failed", "s-1")
        // Was never shown.
        try await Self.set("failed", "s-3")
        try await Self.set("waiting", "s-4")
        #expect(try await next() == "s-4 waiting")
        // Enters, and leaves again by its end.
        try await Self.set("running", "s-3")
        #expect(try await next() == "s-3 running")
        _ = try await SharedHub.hub.api.delete("s-3")
        #expect(try await next() == "s-3 deleted")
        feed.disconnect()
    }

    @Test func filterByDeletedShowsTombstones() async throws {
        try await Self.set("running", "d-1")
        try await Self.set("running", "d-2")
        _ = try await SharedHub.hub.api.delete("d-1")
        let feed = try Self.feed("flow=d-*&status=deleted")
        try await feed.connect()
        #expect(Self.flows(try await feed.next(event: "flows")) == ["d-1"])
        _ = try await SharedHub.hub.api.delete("d-2")
        #expect(try await feed.next(event: "flow").flow == "d-2")
        feed.disconnect()
    }

    @Test(arguments: ["flow=a*b", "flow=", "flow=%2A%2A"]) func rejectsOtherPatterns(_ query: String) async throws {
        let reply = try await SharedHub.hub.call("GET", "/v1/feed?\(query)")
        #expect(reply.status == 400 && reply.problemCode == "bad_parameter", "\(reply.text)")
    }
}
