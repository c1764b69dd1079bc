import FlowCore
import FlowTestKit
import Testing

/// Drain after SIGTERM: no reconnect storm on deploys.
@Suite(.serialized) struct DrainTests {
    private static let streams = 200
    private static let window = 2.0

    @Test func drainSpreadsStreamClosesOverWindow() async throws {
        try await HubProcess.running(["FLOWHUB_DRAIN_SECONDS": "2"]) { hub in
            _ = try await hub.api.patch(
                "deploy",
                .object {
                    $0.key("a"); $0.value(1)
                })
            let clients = try await Self.connect(Self.streams, to: hub)
            for client in clients { _ = try await client.next(event: "caught_up") }
            let started = ContinuousClock.now
            hub.requestTermination()

            // Health checks are answered. New streams get no response, so that a proxy chooses another instance.
            let api = hub.api
            try await eventually("/health/ready says that the hub drains") { try await !api.isReady() }
            let late = try await RawExchange.open(port: hub.port)
            try await late.send("GET /v1/flows/deploy/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            try await late.waitUntilClosed()
            #expect(late.received.isEmpty)
            #expect(try await api.metric("flowhub_refusals_total{reason=\"drain\"}") == 1)
            let change = try await api.publish("work", .null, to: "deploy")
            #expect(change.isAcknowledged && change.reply.header("connection") == "close")

            for client in clients { try await client.waitUntilEnded() }
            #expect(try await hub.waitForExit() == .code(0))
            for client in clients { Self.expectFarewell(of: client) }
            let moments = clients.compactMap { $0.log.connections[0].ended }.map { Self.seconds($0 - started) }.sorted()
            Self.expectSpread(moments)
            let retries = Set(clients.compactMap { $0.log.blocks.last { $0.retry != nil }?.retry })
            #expect(retries.count > Self.streams / 4, "the hub sent \(retries.count) different retry delays")
        }
    }

    /// Writes are answered until the end, and acknowledged events are in the store afterwards.
    @Test func drainKeepsEveryAcknowledgedEvent() async throws {
        try await HubProcess.running(["FLOWHUB_DRAIN_SECONDS": "1"]) { hub in
            let api = hub.api
            let watcher = EventStreamClient(.flow("busy"), port: hub.port)
            try await watcher.connect()
            var version: Version = 0
            var isAsked = false
            while true {
                guard let written = try? await api.publish("work", .null, to: "busy") else { break }
                if written.isAcknowledged { version = written.version }
                if version > 20, !isAsked {
                    hub.requestTermination()
                    isAsked = true
                }
            }
            #expect(try await hub.waitForExit() == .code(0))
            try await hub.start()
            let last = version
            let stored = try #require(try await hub.api.history(of: "busy"))
            // The last reply may have been lost with the connection.
            #expect(stored.version == last || stored.version == last + 1)
            try await watcher.connect()
            try await watcher.waitUntil("what was acknowledged") { log in
                log.events("work").count == stored.version ? () : nil
            }
            #expect(watcher.log.events("work").compactMap(\.version) == Array(1...stored.version))
            watcher.disconnect()
        }
    }

    // MARK: Private

    private static func connect(_ count: Int, to hub: HubProcess) async throws -> [EventStreamClient] {
        let clients = (0..<count).map { EventStreamClient(.flow("deploy"), port: hub.port, name: "stream \($0)") }
        try await withThrowingTaskGroup { group in
            for client in clients { group.addTask { try await client.connect() } }
            try await group.waitForAll()
        }
        return clients
    }

    private static func expectFarewell(of client: EventStreamClient) {
        let last = client.log.blocks.last
        #expect(last?.retry != nil, "\(client.name) got no retry delay")
        #expect(last?.event == "closing" && last?.json.member("reason")?.stringValue == "drain", "\(client.name)")
        #expect(last?.json.member("reconnect")?.boolValue == true)
    }

    /// Expects no burst: about a quarter of the streams is closed in each quarter of the window.
    private static func expectSpread(_ moments: [Double]) {
        #expect(moments.count == Self.streams)
        for quarter in 0..<4 {
            let start = Self.window * Double(quarter) / 4
            let count = moments.count { $0 >= start && $0 < start + Self.window / 4 }
            #expect(count > Self.streams / 16, "\(count) of \(Self.streams) streams were closed in quarter \(quarter + 1)")
        }
        #expect((moments.last ?? 0) < Self.window + 2)
    }

    private static func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }
}
