import FlowCore
import FlowTestKit
import Testing

/// The latest transients of a flow are bounded, and the same with and without subscribers.
@Suite(.hub(["FLOWHUB_MAX_KEPT_TRANSIENT_BYTES": "1000", "FLOWHUB_MAX_KEPT_TRANSIENT_BYTES_PER_FLOW": "2000"]))
struct TransientLimitTests {
    @Test func snapshotContainsLatestTransientsWithinLimit() async throws {
        let hub = try SharedHub.hub
        #expect(try await hub.api.publish("first", .null, to: "f").status == 201)
        func newSubscriber() async throws -> [String] {
            let stream = EventStreamClient(.flow("f"), port: hub.port, name: "new subscriber")
            try await stream.connect()
            return try await stream.next(event: "snapshot").json.member("last")?.members.map(\.key) ?? []
        }
        func publish(_ type: String, _ count: Int) async throws {
            let data = try jsonText("\"\(String(repeating: "x", count: count - 2))\"")
            #expect(try await hub.api.publish(type, data, to: "f", durable: false).status == 202)
        }
        #expect(try await newSubscriber().isEmpty)
        let watching = EventStreamClient(.flow("f"), port: hub.port, name: "watching")
        try await watching.connect()
        _ = try await watching.next(event: "caught_up")
        for (type, count) in [("large", 10), ("a", 900), ("b", 900), ("large", 1_001), ("c", 1_000)] {
            try await publish(type, count)
        }
        _ = try await watching.next(event: "c")
        #expect(watching.log.events("large").count == 2, "a live subscriber must receive every event")
        #expect(try await newSubscriber() == ["b", "c"])
        watching.disconnect()
        // Without subscribers, the flow is opened again from the transients that the hub stores outside the event loops.
        try await eventually("no watched flow") { try await hub.api.metric("flowhub_watched_flows") == 0 }
        #expect(try await newSubscriber() == ["b", "c"])
    }
}
