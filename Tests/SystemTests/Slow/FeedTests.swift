import FlowCore
import FlowTestKit
import Testing

/// The feed of a client that stops reading for a while.
struct FeedTests {
    private static let settings = ["FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER": "4096", "FLOWHUB_RETRY_MS": "50"]

    private static func names(_ count: Int) -> [String] {
        (0..<count).map { String(repeating: "f", count: 110) + "\(1_000 + $0)" }
    }

    private static func touch(_ flows: [String], _ number: Int, _ api: HubAPI) async throws {
        let patch = try jsonText("{\"n\":\(number)}")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for flow in flows {
                group.addTask {
                    let isAcknowledged = try await api.patch(flow, patch).isAcknowledged
                    #expect(isAcknowledged)
                }
            }
            try await group.waitForAll()
        }
    }

    /// A feed that has received the list, and then does not read until changes are dropped for it.
    private static func slowFeed(_ hub: HubProcess, _ flows: [String]) async throws -> EventStreamClient {
        try await Self.touch(flows, 0, hub.api)
        let feed = EventStreamClient(.feed, port: hub.port, name: "feed", options: .init(isNarrow: true))
        try await feed.connect()
        _ = try await feed.next(event: "flows")
        try await feed.stopReading()
        var number = 0
        try await eventually("the feed falling behind", within: .seconds(60), every: .milliseconds(50)) {
            number += 1
            try await Self.touch(flows, number, hub.api)
            return try await hub.api.metric("flowhub_slow_readers_total") ?? 0 > 0
        }
        // Further changes while the feed is behind.
        try await Self.touch(flows, -1, hub.api)
        try await Task.sleep(for: .seconds(2))
        return feed
    }

    @Test func slowFeedSubscriberGetsMissedChangesAsPage() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let flows = Self.names(60)
            let feed = try await Self.slowFeed(hub, flows)
            var versions: [String: Version] = [:]
            for flow in flows { versions[flow] = try await hub.api.state(of: flow)?.version }
            let expected = versions
            try await feed.read()
            // Not at each block: there are thousands, and all of them are read.
            try await eventually("every flow's version", every: .milliseconds(100)) {
                var reported: [String: Version] = [:]
                for block in feed.log.blocks {
                    if block.event == "flow", let flow = block.flow { reported[flow] = block.version }
                    if block.event == "flows" {
                        reported = [:]
                        for item in block.json.member("flows")?.elements ?? [] {
                            if let flow = item.member("flow_id")?.stringValue {
                                reported[flow] = item.member("version")?.intValue
                            }
                        }
                    }
                }
                return reported == expected
            }
            #expect(feed.isConnected)
            #expect(feed.log.events("flows").count >= 2)
            _ = try await hub.api.patch(
                flows[0],
                .object {
                    $0.key("n"); $0.value("after")
                })
            _ = try await feed.next("a later change") { $0.flow == flows[0] && $0.version == expected[flows[0]].map { $0 + 1 } }
        }
    }

    @Test func slowFeedSubscriberOverPageSizeMustReconnect() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let feed = try await Self.slowFeed(hub, Self.names(130))
            try await feed.read()
            try await feed.waitUntilEnded()
            #expect(feed.log.newest.last?.json.string == #"{"type":"closing","reason":"unavailable","reconnect":true}"#)
        }
    }

    @Test func firstFeedPageStartsWithNewestChange() async throws {
        try await HubProcess.running { hub in
            try await Self.touch((0..<101).map { "old-\($0)" }, 0, hub.api)
            try await Task.sleep(for: .milliseconds(5))
            #expect(try await hub.api.put("zz-newest", .emptyObject).status == 201)
            let feed = EventStreamClient(.feed, port: hub.port)
            try await feed.connect()
            let flows = try await feed.next(event: "flows").json.member("flows")?.elements ?? []
            #expect(flows.count == 100)
            #expect(flows.first?.member("flow_id")?.stringValue == "zz-newest")
        }
    }
}
