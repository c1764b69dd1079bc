import FlowCore
import FlowTestKit
import Testing

@testable import FlowRedis

/// Two instances that communicate through Redis.
@Suite(.serialized, .redis()) struct InstancesTests {
    private static func two(
        _ url: (String) -> String = { $0 },
        _ body: (RedisServices, RedisServices, RecordingSink, RecordingSink) async throws -> Void
    ) async throws {
        try await SharedRedis.flush()
        let address = try SharedRedis.server.url
        try await withServices(address, instance: "a") { a in
            try await withServices(address, instance: "b") { b in
                let (sinkA, sinkB) = (RecordingSink(), RecordingSink())
                a.bus.attach(sinkA)
                b.bus.attach(sinkB)
                try await body(a, b, sinkA, sinkB)
            }
        }
    }

    private static func versions(_ sink: RecordingSink) -> [Version] {
        sink.all.messages.compactMap { if case .durable(let event, _) = $0.content { event.version } else { nil } }
    }

    @Test func deliversOnceToPeerAndImmediatelyToPublisher() async throws {
        let flow = try #require(FlowID("f"))
        try await Self.two { a, b, sinkA, sinkB in
            for bus in [a.bus, b.bus] { bus.subscribe(to: flow) }
            try await eventually("both to be subscribed") { sinkA.all.subscribed == [flow] && sinkB.all.subscribed == [flow] }
            for version in 1...500 {
                a.bus.publish([try durable(flow, Version(version))])
                #expect(Self.versions(sinkA).count == version)
            }
            try await eventually("the other instance to receive all of them") { Self.versions(sinkB) == Array(1...500) }
            b.bus.publish([try transient(flow, "1")])
            try await eventually("the answer") { sinkA.all.messages.count == 501 }
            #expect(sinkB.all.messages.count == 501)
            #expect(b.bus.metrics?.rejected.allSatisfy { $0.count == 0 } == true)
        }
    }

    @Test func reportsOnlyAcceptedMessages() async throws {
        let flow = try #require(FlowID("f"))
        try await RedisServer.running { server in
            try await withServices(server.url) { services in
                let counts = RecordingSink()
                services.bus.publish([try durable(flow, 1), try durable(flow, 2)]) { counts.receivedNotification(.revocations) }
                try await eventually("both messages to be accepted") { counts.all.notifications.count == 1 }
                try await server.kill()
                try await eventually("the loss") { !services.bus.isDelivering }
                services.bus.publish([try durable(flow, 3)]) { counts.receivedNotification(.revocations) }
                try await server.start()
                try await eventually("the bus to deliver again") { services.bus.isDelivering }
                services.bus.publish([try durable(flow, 4)]) { counts.receivedNotification(.revocations) }
                try await eventually("the next message to be accepted") { counts.all.notifications.count == 2 }
            }
        }
    }

    @Test func resubscribesAfterServerRestartsEmpty() async throws {
        let flows = try (0..<1_200).map { try #require(FlowID("f\($0)")) }
        try await RedisServer.running { server in
            try await withServices(server.url, instance: "a") { a in
                try await withServices(server.url, instance: "b") { b in
                    let sink = RecordingSink()
                    b.bus.attach(sink)
                    for flow in flows { b.bus.subscribe(to: flow) }
                    try await eventually("all to be subscribed") { sink.all.subscribed.count == flows.count }
                    try await server.kill()
                    try await eventually("both instances to detect the loss") { !a.bus.isDelivering && !b.bus.isDelivering }
                    let restored = sink.all.restored
                    try await server.start()
                    try await eventually("both to be back") { a.bus.isDelivering && b.bus.isDelivering }
                    #expect(sink.all.restored > restored)
                    for flow in flows { a.bus.publish([try durable(flow, 1)]) }
                    try await eventually("every flow's message") { Self.versions(sink).count == flows.count }
                }
            }
        }
    }

    @Test func replacesConnectionThatAnswersButDeliversNothing() async throws {
        let flow = try #require(FlowID("f"))
        let server = try SharedRedis.server
        try await SharedRedis.flush()
        try await RedisProxy.running(before: server) { proxy in
            try await withServices(server.url, instance: "a") { a in
                try await withServices(proxy.url, instance: "b") { b in
                    let sink = RecordingSink()
                    b.bus.attach(sink)
                    b.bus.subscribe(to: flow)
                    try await eventually("the subscription") { sink.all.subscribed == [flow] }
                    try await proxy.switchTo(.dropMessages)
                    try await eventually("the connection to be replaced", within: .seconds(5)) {
                        (b.bus.metrics?.replacedConnections ?? 0) > 0
                    }
                    #expect(!b.bus.isDelivering)
                    #expect(a.bus.isDelivering)
                    try await proxy.switchTo(.forward)
                    try await eventually("the bus to deliver again") { b.bus.isDelivering }
                    a.bus.publish([try durable(flow, 1)])
                    try await eventually("the message") { Self.versions(sink) == [1] }
                }
            }
        }
    }

    /// An idle instance sends few canaries, but still finds out that nothing arrives.
    @Test func idleInstanceReplacesConnectionThatDeliversNothing() async throws {
        let server = try SharedRedis.server
        try await SharedRedis.flush()
        try await RedisProxy.running(before: server) { proxy in
            try await withServices(proxy.url) { configuration, _ in
                configuration.isThrifty = true
                configuration.idleSeconds = 1
                configuration.heartbeatMilliseconds = 200
            } _: { services in
                try await eventually("the instance to be idle") {
                    (Int(try await server.command(["PTTL", "hub:alive:i"])) ?? 0) > 600
                }
                try await proxy.switchTo(.dropMessages)
                try await eventually("the connection to be replaced", within: .seconds(5)) {
                    (services.bus.metrics?.replacedConnections ?? 0) > 0
                }
                #expect(!services.bus.isDelivering)
                try await proxy.switchTo(.forward)
                try await eventually("the bus to deliver again") { services.bus.isDelivering }
            }
        }
    }

    @Test func backloggedInstancePausesReadingWithoutLoss() async throws {
        let flow = try #require(FlowID("f"))
        try await Self.two { a, b, _, _ in
            let sink = RecordingSink()
            sink.set(backlog: 1_000_000)
            b.bus.attach(sink)
            b.bus.subscribe(to: flow)
            try await eventually("the subscription") { sink.all.subscribed == [flow] }
            let payload = #"{"updates":{"x":"\#(String(repeating: "x", count: 10_000))"}}"#
            for version in 1...1_500 { a.bus.publish([try durable(flow, Version(version), payload: payload)]) }
            let server = try SharedRedis.server
            try await eventually("the server to queue") {
                let clients = try await server.command(["CLIENT", "LIST", "TYPE", "pubsub"]).split(separator: "\n")
                return clients.contains { $0.contains("name=flowhub:b:subscriber") && !$0.contains(" omem=0 ") }
            }
            sink.set(backlog: 0)
            try await eventually("all of them") { sink.all.messages.count == 1_500 }
        }
    }

    @Test func unsubscribesUnwatchedFlowAfterDelay() async throws {
        let flow = try #require(FlowID("f"))
        try await Self.two { a, _, sink, _ in
            a.bus.subscribe(to: flow)
            try await eventually("the subscription") { sink.all.subscribed == [flow] }
            a.bus.unsubscribe(from: flow)
            a.bus.subscribe(to: flow)
            try await eventually("its confirmation") { sink.all.subscribed == [flow, flow] }
            let server = try SharedRedis.server
            #expect(try await server.command(["PUBSUB", "NUMSUB", "flow:updates:f"]).contains("1"))
            a.bus.unsubscribe(from: flow)
            try await eventually("the flow to be unsubscribed", within: .seconds(30)) {
                try await server.command(["PUBSUB", "NUMSUB", "flow:updates:f"]).split(separator: "\n").last == "0"
            }
        }
    }

    @Test func rejectsOlderStateAndIgnoresForgedState() async throws {
        let flow = try #require(FlowID("f"))
        func record(_ version: Version) throws -> FlowRecord {
            let head = FlowHead(
                flow: flow, account: "1", version: version, status: .active, resetVersion: 1,
                updatedAt: Timestamp(milliseconds: 5))
            return FlowRecord(
                head: head, state: try JSONText(validating: Array(#"{"n":\#(version),"x":1.50}"#.utf8)),
                fence: try JSONText(validating: Array(#"{"r":7}"#.utf8)))
        }
        try await Self.two { a, b, _, _ in
            let server = try SharedRedis.server
            #expect(await b.states.record(of: flow, atLeast: 0, epoch: epoch) == nil)
            a.states.put(try record(5), epoch: epoch)
            a.states.put(try record(4), epoch: epoch)
            try await eventually("the state") { await b.states.record(of: flow, atLeast: 0, epoch: epoch) == (try record(5)) }
            #expect(await b.states.record(of: flow, atLeast: 6, epoch: epoch) == nil)
            #expect(await b.states.record(of: flow, atLeast: 5, epoch: Epoch(counter: 37, random: "a")) == nil)
            a.states.put(try record(3), epoch: Epoch(counter: 37, random: "a"))
            try await eventually("the newer epoch's") {
                await b.states.record(of: flow, atLeast: 0, epoch: Epoch(counter: 37, random: "a"))?.version == 3
            }
            a.states.put(try record(9), epoch: epoch)
            a.states.put(try record(10), epoch: Epoch(counter: 1_000, random: "0"))
            try await eventually("the newest") { try await server.command(["GET", "flow:state:f"]).contains(#""n":10"#) }
            try await server.command(["SET", "flow:state:f", #"{"status":"forged"}"#])
            #expect(await b.states.record(of: flow, atLeast: 0, epoch: Epoch(counter: 1_000, random: "0")) == nil)
            #expect((Int(try await server.command(["PTTL", "flow:meta:f"])) ?? 0) > 3_000_000)
        }
    }

    @Test func ignoresHubWithOtherStoreAndItsMessages() async throws {
        let flow = try #require(FlowID("f"))
        try await SharedRedis.flush()
        let server = try SharedRedis.server
        try await withServices(server.url, instance: "a", hub: "one") { a in
            let name = try await server.command(["GET", "hub:name"])
            try await withServices(server.url, instance: "b", hub: "two", waits: false) { b in
                #expect(!b.bus.isDelivering)
                await #expect(throws: LockError.self) {
                    _ = try await b.locks(fencing: CountingSequence()).acquire("r", account: "0", seconds: 60, now: now())
                }
                let unchanged = try await server.command(["GET", "hub:name"])
                #expect(unchanged == name)
            }
            let sink = RecordingSink()
            a.bus.attach(sink)
            a.bus.subscribe(to: flow)
            try await eventually("the subscription") { sink.all.subscribed == [flow] }
            let codec = MessageCodec(authenticator: MessageAuthenticator(hubID: "two"), origin: "b", maximumBytes: 10_000)
            let message = String(decoding: codec.encode(try durable(flow, 1), sequence: 1), as: UTF8.self)
            try await server.command(["PUBLISH", "flow:updates:f", message])
            try await eventually("its rejection") {
                a.bus.metrics?.rejected.contains { $0.reason == "forged" && $0.count == 1 } == true
            }
            #expect(sink.all.messages.isEmpty)
        }
        try await server.command(["DEL", "hub:name"])
        try await withServices(server.url, instance: "b", hub: "two") { _ in }
    }

    @Test func forgedNameStopsUseOfRedisOnlyWhileItIsThere() async throws {
        try await SharedRedis.flush()
        let server = try SharedRedis.server
        try await withServices(server.url) { services in
            // Before each liveness heartbeat, which would otherwise find the own name first.
            try await server.command(["SET", "hub:name", "forged", "PX", "50000"])
            try await eventually("the end of delivery", within: .seconds(10)) { !services.bus.isDelivering }
            try await server.command(["DEL", "hub:name"])
            try await eventually("delivery", within: .seconds(15)) { services.bus.isDelivering }
        }
        // What no hub has written in this way does not even stop it.
        for forged in [
            ["SET", "hub:name", "forged"], ["SET", "hub:name", "forged", "EX", "1000"], ["HSET", "hub:name", "a", "1"],
        ] {
            try await SharedRedis.flush()
            try await server.command(forged)
            // With its liveness key, the instance removes no entries of its previous incarnation.
            if forged[0] == "SET" { try await server.command(["SET", "hub:alive:i", "forged"]) }
            try await server.command(["SET", "hub:instances", "forged"])
            try await server.command(["SET", "hub:flows:i", "forged"])
            try await withServices(server.url) { services in
                #expect(services.bus.isDelivering)
                try await eventually("the own keys") {
                    let members = try await server.command(["SMEMBERS", "hub:instances"])
                    let alive = Int(try await server.command(["PTTL", "hub:alive:i"])) ?? -1
                    let name = Int(try await server.command(["PTTL", "hub:name"])) ?? -1
                    return members == "i" && alive > 0 && (0...12_000).contains(name)
                }
            }
        }
    }

    @Test func notificationsReachPeersAndDisconnectReachesOwner() async throws {
        try await Self.two { a, b, sinkA, sinkB in
            a.bus.notifyPeers(.revocations)
            try await eventually("the notification") { sinkB.all.notifications == [.revocations] }
            #expect(sinkA.all.notifications.isEmpty)
            let flow = try #require(FlowID("f"))
            let entry = ConnectionEntry(
                connection: ConnectionID(instance: "b", number: 4), flow: flow, account: "1", subject: "s", remote: "r",
                registeredAt: Timestamp(milliseconds: 5))
            let ended = RecordingSink()
            b.registry.onDisconnectRequest { connection in if connection.number == 4 { ended.receivedNotification(.revocations) }
            }
            await b.registry.register([entry])
            try await eventually("the connection to be listed") { await a.registry.connections(of: flow) == [entry] }
            #expect(await a.registry.disconnect(entry.connection, account: "2") == false)
            #expect(ended.all.notifications.isEmpty)
            #expect(await a.registry.disconnect(entry.connection, account: "1"))
            #expect(ended.all.notifications.count == 1)
            #expect(await a.registry.disconnect(ConnectionID(instance: "nobody", number: 4), account: nil) == false)
        }
    }

    /// The liveness heartbeat finds what is missing; the renewal of all entries is far away.
    @Test func rewritesMissingConnectionEntriesWithNextHeartbeat() async throws {
        let server = try SharedRedis.server
        try await SharedRedis.flush()
        let flow = try #require(FlowID("f"))
        try await withServices(server.url, instance: "a") { a in
            try await withServices(server.url, instance: "b") { configuration, _ in
                configuration.heartbeatMilliseconds = 200
            } _: { b in
                let entries = (1...3).map {
                    ConnectionEntry(
                        connection: ConnectionID(instance: "b", number: $0), flow: flow, account: "1", subject: "s", remote: "r",
                        registeredAt: Timestamp(milliseconds: 5))
                }
                await b.registry.register(entries)
                let damages = [["DEL", "hub:connections:f"], ["SET", "hub:connections:f", "{}"], ["FLUSHALL"], ["PING"]]
                for damage in damages {
                    try await eventually("the connections to be listed, before \(damage)") {
                        await a.registry.connections(of: flow) == entries
                    }
                    #expect(try await server.command(["HGET", "hub:flows:b", "f"]) == "3")
                    try await server.command(damage)
                }
                await b.registry.unregister(Array(entries.dropFirst()))
                try await eventually("one connection to remain") { await a.registry.connections(of: flow) == [entries[0]] }
                #expect(try await server.command(["HGET", "hub:flows:b", "f"]) == "1")
            }
        }
    }

    /// An instance of an earlier version has its entries in `sse:connections:{flow}`, until a legacy service overwrites them.
    @Test func listsConnectionsOfEarlierVersion() async throws {
        let server = try SharedRedis.server
        try await SharedRedis.flush()
        let flow = try #require(FlowID("f"))
        try await withServices(server.url, instance: "a") { a in
            let old = ConnectionEntry(
                connection: ConnectionID(instance: "old", number: 1), flow: flow, account: "1", subject: "s", remote: "r",
                registeredAt: Timestamp(milliseconds: 5))
            try await server.command(["SET", "hub:alive:old", "boot"])
            try await server.command(
                ["HSET", "sse:connections:f", "old.1", ConnectionField.encode(old, "boot").string, "a.9", "{}"])
            #expect(await a.registry.connections(of: flow) == [old])
            #expect(await a.registry.foreignConnections(of: flow, account: "0").isEmpty)
        }
    }
}
