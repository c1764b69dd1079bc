import FlowCore
import FlowTestKit
import Testing

/// What is between one instance and Redis fails; the other instance must not notice.
@Suite(.serialized, .postgres(), .redis()) struct RedisLinkTests {
    private static let flows = ["orders-0", "orders-1", "orders-2"]

    private typealias Crash =
        @Sendable ([HubProcess], _ here: EventStreamClient, _ there: EventStreamClient) async throws -> Void

    /// Two hubs with traffic, the second one's link broken and mended again and again.
    private static func run(
        _ urls: [String], crashes: Int, longestLag: Duration, _ crash: @escaping Crash
    ) async throws {
        let seed = UInt64.random(in: 1...999_999)
        let targets: [StreamTarget] = (0..<6).map { $0 % 3 == 2 ? .flows(Self.flows) : .flow(Self.flows[$0 % 3]) }
        let violations = try await RedisHubs.running(urls, on: try SharedPostgres.server) { hubs in
            try await HealthWatch.watching(plain: hubs, strict: [hubs[0]]) {
                let here = EventStreamClient(.flow("quiet"), port: hubs[0].port, name: "one at the sound instance")
                let there = EventStreamClient(.flow("quiet"), port: hubs[1].port, name: "one at the other instance")
                for client in [here, there] {
                    try await client.connect()
                    _ = try await client.next(event: "caught_up")
                }
                let violations = try await CrashRun(
                    hubs: hubs, flows: Self.flows, targets: targets, crashes: crashes, longestLag: longestLag
                ) { _ in try await crash(hubs, here, there) }.run(seed: seed)
                for client in [here, there] { #expect(client.log.connections.count == 1 && client.isConnected) }
                #expect(!here.log.blocks.contains { $0.isHeartbeat("degraded") })
                return violations
            }
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }

    /// The second one behind a proxy.
    private static func runBehindProxy(
        crashes: Int, longestLag: Duration,
        _ crash:
            @escaping @Sendable (RedisProxy, [HubProcess], _ here: EventStreamClient, _ there: EventStreamClient) async throws ->
            Void
    ) async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        try await RedisProxy.running(before: redis) { proxy in
            try await Self.run([redis.url, proxy.url], crashes: crashes, longestLag: longestLag) {
                try await crash(proxy, $0, $1, $2)
            }
        }
    }

    /// - Parameters:
    ///   - cut: nothing comes any more, and nothing ends.
    ///   - healsWithin: from when the link is there again.
    private static func silence(
        _ hubs: [HubProcess], _ here: EventStreamClient, _ there: EventStreamClient, healsWithin limit: Duration,
        cut: () async throws -> Void, mend: () async throws -> Void
    ) async throws {
        try await Self.waitForBoth(hubs)
        try await cut()
        let began = ContinuousClock.now
        let known = try await hubs[1].waitUntilDegraded(within: .seconds(5))
        #expect(known - began < .milliseconds(3_500), "known after \(known - began)")
        _ = try await there.next("word of it", within: .seconds(1)) { $0.isHeartbeat("degraded") }
        for _ in 0..<TestScale.pick(1, full: 3) {
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
        try await mend()
        try await hubs[1].waitUntilDelivering(within: limit)
        _ = try await there.next("good news", within: .seconds(1)) { $0.isHeartbeat("ok") }
        let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: there, within: .seconds(3))
        #expect(lag < .milliseconds(500), "by Redis after \(lag)")
        try await Self.waitForBoth(hubs)
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
        // Both mostly wait.
        async let frozen: Void = Self.frozen()
        if RemoteRedis.isPossible { try await Self.down() }
        try await frozen
    }

    /// By a proxy.
    private static func frozen() async throws {
        try await Self.runBehindProxy(
            crashes: TestScale.pick(1, full: 5), longestLag: .seconds(6)
        ) { proxy, hubs, here, there in
            try await Self.silence(hubs, here, there, healsWithin: .seconds(15)) {
                try await proxy.switchTo(.freeze)
            } mend: {
                try await proxy.switchTo(.pass)
            }
        }
    }

    /// By a network link that is down: what is sent is lost without a word.
    private static func down() async throws {
        try await RemoteRedis.running(links: 2) { remote in
            try await Self.run(
                [remote.url(0), remote.url(1)], crashes: TestScale.pick(1, full: 5), longestLag: .seconds(6)
            ) { hubs, here, there in
                try await Self.silence(hubs, here, there, healsWithin: .seconds(20)) {
                    try await remote.take(1, up: false)
                } mend: {
                    try await remote.take(1, up: true)
                }
            }
        }
    }

    @Test("a proxy that answers PING and drops messages is found out, and its connections are replaced")
    func liar() async throws {
        try await Self.runBehindProxy(crashes: TestScale.pick(1, full: 5), longestLag: .seconds(6)) { proxy, hubs, here, there in
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
        try await Self.runBehindProxy(crashes: TestScale.pick(2, full: 10), longestLag: .seconds(4)) { proxy, hubs, _, there in
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
