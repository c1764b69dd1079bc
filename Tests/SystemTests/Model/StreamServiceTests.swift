import FlowCore
import FlowTestKit
import Testing

/// Tests of heartbeats, presence, the list of connections, and the feed.
@Suite(.serialized) struct StreamServiceTests {
    private static let settings = ["FLOWHUB_HEARTBEAT_SECONDS": "1"]

    @Test func heartbeatKeepsCursor() async throws {
        try await HubProcess.running(Self.settings) { hub in
            _ = try await hub.api.publish("first", .null, to: "quiet")
            let client = EventStreamClient(.flow("quiet"), port: hub.port)
            try await client.connect()
            _ = try await client.next(event: "caught_up")
            let cursor = client.lastEventID
            var heartbeats: [EventBlock] = []
            for _ in 0..<4 { heartbeats.append(try await client.next(event: "heartbeat", within: .seconds(5))) }
            #expect(heartbeats.allSatisfy { $0.id == nil && $0.json.member("delivery")?.stringValue == "ok" })
            #expect(client.lastEventID == cursor)
            // Not more often than configured. A busy machine may delay heartbeats.
            #expect(heartbeats[3].at - heartbeats[0].at > .milliseconds(2_500))
            client.disconnect()
        }
    }

    @Test func presenceCountsConnectedSubscribers() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let watching = EventStreamClient(.flow("room").with { $0.wantsPresence = true }, port: hub.port)
            try await watching.connect()
            _ = try await watching.next("a count of 1", where: Self.counts(1))
            let second = EventStreamClient(.flow("room"), port: hub.port)
            try await second.connect()
            _ = try await watching.next("a count of 2", where: Self.counts(2))
            // A reset is detected like a regular close.
            second.reset()
            _ = try await watching.next("a count of 1 again", where: Self.counts(1))
            #expect(second.log.events("presence").isEmpty)
            let moments = watching.log.events("presence").map(\.at)
            #expect(zip(moments, moments.dropFirst()).allSatisfy { $1 - $0 > .milliseconds(500) }, "more than one a second")
            watching.disconnect()
        }
    }

    private static func counts(_ count: Int64) -> @Sendable (EventBlock) -> Bool {
        { $0.event == "presence" && $0.json.member("count")?.intValue == count }
    }

    @Test func listsAndEndsConnections() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let api = hub.api
            let clients = (0..<3).map { EventStreamClient(.flow("room"), port: hub.port, name: "client \($0)") }
            for client in clients { try await client.connect() }
            func listed() async throws -> [String] {
                let reply = try await api.call("GET", "/v1/flows/room/connections")
                return (reply.json.member("connections")?.elements ?? []).compactMap { $0.member("connection_id")?.stringValue }
            }
            try await eventually("all three to be listed") { try await listed().count == 3 }
            let victim = try #require(try await listed().first)
            #expect(try await api.call("DELETE", "/v1/connections/\(victim)").status == 204)
            try await eventually("one of them to be disconnected") { clients.count { $0.isConnected } == 2 }
            let ended = try #require(clients.first { !$0.isConnected })
            #expect(ended.log.blocks.last?.event == "closing")
            // The client is not banned: `reconnect` is true, and it can connect again.
            #expect(ended.log.blocks.last?.json.member("reconnect")?.boolValue == true)
            try await eventually("it to be removed from the list") { try await !listed().contains(victim) }
            #expect(try await api.call("DELETE", "/v1/connections/\(victim)").status == 404)
            try await ended.connect()
            _ = try await ended.next(event: "caught_up")
            for client in clients { client.disconnect() }
            try await eventually("the list to be empty") { try await listed().isEmpty }
        }
    }

    @Test func feedSendsFlowsAndEachChangeOnce() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let api = hub.api
            _ = try await api.publish("first", .null, to: "old")
            let feed = EventStreamClient(.feed, port: hub.port, name: "feed")
            try await feed.connect()
            let first = try await feed.next(event: "flows")
            #expect(first.json.member("flows")?.elements.compactMap { $0.member("flow_id")?.stringValue } == ["old"])
            _ = try await api.patch(
                "new",
                .object {
                    $0.key("status"); $0.value("running")
                })
            let change = try await feed.next("the new flow") { $0.event == "flow" && $0.flow == "new" }
            #expect(change.version == 1 && change.json.member("status")?.stringValue == "running" && change.id == nil)
            _ = try await api.delete("new")
            let deletion = try await feed.next("its end") { $0.event == "flow" && $0.flow == "new" && $0.version == 2 }
            #expect(deletion.json.member("status")?.stringValue == "deleted")
            // Each change once, although the polls overlap.
            _ = try await feed.next(event: "heartbeat")
            _ = try await feed.next(event: "heartbeat")
            let reported = feed.log.events("flow").compactMap { block in block.flow.map { "\($0) \(block.version ?? 0)" } }
            #expect(Set(reported).count == reported.count, "\(reported)")
            #expect(!reported.contains("old 1"), "the first event already contained it")
            feed.disconnect()
        }
    }
}
