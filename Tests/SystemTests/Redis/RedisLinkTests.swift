import FlowCore
import FlowTestKit
import Testing

/// What is between one instance and Redis fails; the other instance must not notice.
@Suite(.serialized, .postgres(), .redis()) struct RedisLinkTests {
    private static let flows = ["orders-0", "orders-1", "orders-2"]

    /// Two hubs with traffic, the second one's link broken and mended again and again.
    private static func run(
        crashes: Int, longestLag: Duration,
        _ crash:
            @escaping @Sendable (RedisProxy, [HubProcess], _ here: EventStreamClient, _ there: EventStreamClient) async throws ->
            Void
    ) async throws {
        let seed = UInt64.random(in: 1...999_999)
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        let targets: [StreamTarget] = (0..<6).map { $0 % 3 == 2 ? .flows(Self.flows) : .flow(Self.flows[$0 % 3]) }
        let violations = try await RedisProxy.running(before: redis) { proxy in
            try await RedisHubs.running([redis.url, proxy.url], on: try SharedPostgres.server) { hubs in
                try await HealthWatch.watching(plain: hubs, strict: [hubs[0]]) {
                    let here = EventStreamClient(.flow("quiet"), port: hubs[0].port, name: "one at the sound instance")
                    let there = EventStreamClient(.flow("quiet"), port: hubs[1].port, name: "one at the other instance")
                    for client in [here, there] {
                        try await client.connect()
                        _ = try await client.next(event: "caught_up")
                    }
                    let violations = try await CrashRun(
                        hubs: hubs, flows: Self.flows, targets: targets, crashes: crashes, longestLag: longestLag
                    ) { _ in try await crash(proxy, hubs, here, there) }.run(seed: seed)
                    for client in [here, there] { #expect(client.log.connections.count == 1 && client.isConnected) }
                    #expect(!here.log.blocks.contains { $0.isHeartbeat("degraded") })
                    return violations
                }
            }
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }

    private static func waitForBoth(_ hubs: [HubProcess]) async throws {
        for hub in hubs {
            try await eventually("both connections to be listed", within: .seconds(15)) {
                try await hub.connections(of: "quiet").count == 2
            }
        }
    }

    @Test("cut silently: nothing comes and nothing ends")
    func silent() async throws {
        try await Self.run(crashes: TestScale.pick(1, full: 5), longestLag: .seconds(6)) { proxy, hubs, here, there in
            try await Self.waitForBoth(hubs)
            try await proxy.switchTo(.freeze)
            let cut = ContinuousClock.now
            let known = try await hubs[1].waitUntilDegraded(within: .seconds(5))
            #expect(known - cut < .milliseconds(3_500), "known after \(known - cut)")
            _ = try await there.next("word of it", within: .seconds(1)) { $0.isHeartbeat("degraded") }
            for _ in 0..<2 {
                let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: there, within: .seconds(3))
                #expect(lag < .seconds(2), "by the sweep after \(lag)")
                // What the cut-off instance takes, the other one's relay publishes.
                let lagHere = try await RedisHubs.probe("quiet", from: hubs[1], to: here, within: .seconds(4))
                #expect(lagHere < .seconds(3), "by the outbox after \(lagHere)")
            }
            if TestScale.isFull {
                // Whom the registry forgets meanwhile is there, all the same.
                try await eventually("the cut-off instance to count as dead", within: .seconds(15)) {
                    try await hubs[0].connections(of: "quiet").count == 1
                }
            }
            try await proxy.switchTo(.pass)
            try await hubs[1].waitUntilDelivering(within: .seconds(15))
            _ = try await there.next("good news", within: .seconds(1)) { $0.isHeartbeat("ok") }
            let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: there, within: .seconds(3))
            #expect(lag < .milliseconds(500), "by Redis after \(lag)")
            try await Self.waitForBoth(hubs)
        }
    }

    @Test("a proxy that answers PING and drops messages is found out, and its connections are replaced")
    func liar() async throws {
        try await Self.run(crashes: TestScale.pick(1, full: 5), longestLag: .seconds(6)) { proxy, hubs, here, there in
            let before = try await hubs[1].api.metric("flowhub_bus_replaced_total") ?? 0
            try await proxy.switchTo(.swallowMessages)
            let cut = ContinuousClock.now
            let known = try await hubs[1].waitUntilDegraded(within: .seconds(6))
            // Three seconds after the last word, and a look every second.
            #expect(known - cut < .milliseconds(4_500), "known after \(known - cut)")
            _ = try await there.next("word of it", within: .seconds(1)) { $0.isHeartbeat("degraded") }
            try await eventually("the connection to be replaced", within: .seconds(5)) {
                try await hubs[1].api.metric("flowhub_bus_replaced_total") ?? 0 > before
            }
            let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: there, within: .seconds(3))
            #expect(lag < .seconds(2), "by the sweep after \(lag)")
            let lagHere = try await RedisHubs.probe("quiet", from: hubs[1], to: here, within: .seconds(4))
            #expect(lagHere < .seconds(3), "the sound instance after \(lagHere)")
            try await proxy.switchTo(.pass)
            try await hubs[1].waitUntilDelivering(within: .seconds(10))
            _ = try await there.next("good news", within: .seconds(1)) { $0.isHeartbeat("ok") }
            let healed = try await RedisHubs.probe("quiet", from: hubs[0], to: there, within: .seconds(3))
            #expect(healed < .milliseconds(500), "by Redis after \(healed)")
        }
    }

    @Test("cut for good and refused: the rest goes on, and comes back")
    func refused() async throws {
        try await Self.run(crashes: TestScale.pick(2, full: 10), longestLag: .seconds(4)) { proxy, hubs, _, there in
            try await proxy.switchTo(.refuse)
            try await hubs[1].waitUntilDegraded(within: .seconds(3))
            let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: there, within: .seconds(3))
            #expect(lag < .seconds(2), "by the sweep after \(lag)")
            try await proxy.switchTo(.pass)
            try await hubs[1].waitUntilDelivering(within: .seconds(15))
            try await proxy.cut()
            try await hubs[1].waitUntilDelivering(within: .seconds(5))
        }
    }
}
