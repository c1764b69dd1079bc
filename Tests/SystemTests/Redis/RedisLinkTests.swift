import FlowCore
import FlowTestKit
import Testing

/// The link between one instance and Redis fails; the other instance must not be affected.
@Suite(.serialized, .postgres(), .redis()) struct RedisLinkTests {
    private static let flows = ["orders-0", "orders-1", "orders-2"]

    private typealias Crash =
        @Sendable ([HubProcess], _ healthyClient: EventStreamClient, _ isolatedClient: EventStreamClient) async throws -> Void

    /// Two instances with traffic. The link of the second one is interrupted and restored repeatedly.
    private static func run(
        _ urls: [String], crashes: Int, longestLag: Duration, _ crash: @escaping Crash
    ) async throws {
        let seed = UInt64.random(in: 1...999_999)
        let targets: [StreamTarget] = (0..<6).map { $0 % 3 == 2 ? .flows(Self.flows) : .flow(Self.flows[$0 % 3]) }
        let violations = try await RedisHubs.running(urls, on: try SharedPostgres.server) { hubs in
            try await HealthMonitor.monitoring(plain: hubs, strict: [hubs[0]]) {
                let healthyClient = EventStreamClient(.flow("quiet"), port: hubs[0].port, name: "healthy instance")
                let isolatedClient = EventStreamClient(.flow("quiet"), port: hubs[1].port, name: "isolated instance")
                for client in [healthyClient, isolatedClient] {
                    try await client.connect()
                    _ = try await client.next(event: "caught_up")
                }
                let violations = try await CrashRun(
                    hubs: hubs, flows: Self.flows, targets: targets, crashes: crashes, longestLag: longestLag
                ) { _ in try await crash(hubs, healthyClient, isolatedClient) }.run(seed: seed)
                for client in [healthyClient, isolatedClient] { #expect(client.log.connections.count == 1 && client.isConnected) }
                #expect(!healthyClient.log.blocks.contains { $0.isHeartbeat("degraded") })
                return violations
            }
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }

    /// As ``run(_:crashes:longestLag:_:)``, with the second instance behind a proxy.
    private static func runBehindProxy(
        crashes: Int, longestLag: Duration,
        _ crash:
            @escaping @Sendable (
                RedisProxy, [HubProcess], _ healthyClient: EventStreamClient, _ isolatedClient: EventStreamClient
            ) async throws ->
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

    /// Interrupts the second instance's link silently, checks the degraded delivery, and restores the link.
    /// - Parameters:
    ///   - timeout: maximum time from the restoration of the link until delivery is ok.
    ///   - interrupt: stops all traffic of the link without closing connections.
    ///   - restore: lets traffic pass again.
    private static func silence(
        _ hubs: [HubProcess], _ healthyClient: EventStreamClient, _ isolatedClient: EventStreamClient,
        healsWithin timeout: Duration,
        interrupt: () async throws -> Void, restore: () async throws -> Void
    ) async throws {
        try await Self.waitForBoth(hubs)
        try await interrupt()
        let start = ContinuousClock.now
        let degradedAt = try await hubs[1].waitUntilDegraded(within: .seconds(5))
        #expect(degradedAt - start < .milliseconds(3_500), "degraded after \(degradedAt - start)")
        _ = try await isolatedClient.next("a degraded heartbeat", within: .seconds(1)) { $0.isHeartbeat("degraded") }
        for _ in 0..<TestScale.pick(1, full: 3) {
            let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: isolatedClient, within: .seconds(3))
            #expect(lag < .seconds(2), "delivered by version sweep after \(lag)")
            // The other instance's outbox relay publishes the commits of the isolated one.
            let outboxLag = try await RedisHubs.probe("quiet", from: hubs[1], to: healthyClient, within: .seconds(4))
            #expect(outboxLag < .seconds(3), "delivered by outbox after \(outboxLag)")
        }
        if TestScale.isFull {
            // A stream that the registry no longer lists stays connected.
            try await eventually("the isolated instance to count as dead", within: .seconds(15)) {
                try await hubs[0].connections(of: "quiet").count == 1
            }
        }
        try await restore()
        try await hubs[1].waitUntilDelivering(within: timeout)
        _ = try await isolatedClient.next("an ok heartbeat", within: .seconds(1)) { $0.isHeartbeat("ok") }
        let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: isolatedClient, within: .seconds(3))
        #expect(lag < .milliseconds(500), "delivered by Redis after \(lag)")
        try await Self.waitForBoth(hubs)
    }

    private static func waitForBoth(_ hubs: [HubProcess]) async throws {
        for hub in hubs {
            try await eventually("both connections to be listed", within: .seconds(15)) {
                try await hub.connections(of: "quiet").count == 2
            }
        }
    }

    @Test func silentlyDroppedLinkDegradesAndRecovers() async throws {
        // Both spend most of their time waiting, so they run concurrently.
        async let frozen: Void = Self.frozen()
        if RemoteRedis.isAvailable { try await Self.down() }
        try await frozen
    }

    /// Interrupts the link with a proxy that stops forwarding.
    private static func frozen() async throws {
        try await Self.runBehindProxy(
            crashes: TestScale.pick(1, full: 5), longestLag: .seconds(6)
        ) { proxy, hubs, healthyClient, isolatedClient in
            try await Self.silence(hubs, healthyClient, isolatedClient, healsWithin: .seconds(15)) {
                try await proxy.switchTo(.freeze)
            } restore: {
                try await proxy.switchTo(.forward)
            }
        }
    }

    /// Interrupts the link by taking a network interface down: packets are lost silently.
    private static func down() async throws {
        try await RemoteRedis.running(links: 2) { remote in
            try await Self.run(
                [remote.url(0), remote.url(1)], crashes: TestScale.pick(1, full: 5), longestLag: .seconds(6)
            ) { hubs, healthyClient, isolatedClient in
                try await Self.silence(hubs, healthyClient, isolatedClient, healsWithin: .seconds(20)) {
                    try await remote.setLink(1, up: false)
                } restore: {
                    try await remote.setLink(1, up: true)
                }
            }
        }
    }

    @Test func replacesConnectionThatAnswersButDeliversNothing() async throws {
        try await Self.runBehindProxy(crashes: TestScale.pick(1, full: 5), longestLag: .seconds(6)) {
            proxy, hubs, healthyClient, isolatedClient in
            let before = try await hubs[1].api.metric("flowhub_bus_replaced_total") ?? 0
            try await proxy.switchTo(.dropMessages)
            let start = ContinuousClock.now
            let degradedAt = try await hubs[1].waitUntilDegraded(within: .seconds(6))
            // Three seconds without a canary, checked once a second.
            #expect(degradedAt - start < .milliseconds(4_500), "degraded after \(degradedAt - start)")
            _ = try await isolatedClient.next("a degraded heartbeat", within: .seconds(1)) { $0.isHeartbeat("degraded") }
            try await eventually("the connection to be replaced", within: .seconds(5)) {
                try await hubs[1].api.metric("flowhub_bus_replaced_total") ?? 0 > before
            }
            let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: isolatedClient, within: .seconds(3))
            #expect(lag < .seconds(2), "delivered by version sweep after \(lag)")
            let outboxLag = try await RedisHubs.probe("quiet", from: hubs[1], to: healthyClient, within: .seconds(4))
            #expect(outboxLag < .seconds(3), "delivered to the healthy instance after \(outboxLag)")
            try await proxy.switchTo(.forward)
            try await hubs[1].waitUntilDelivering(within: .seconds(10))
            _ = try await isolatedClient.next("an ok heartbeat", within: .seconds(1)) { $0.isHeartbeat("ok") }
            let healed = try await RedisHubs.probe("quiet", from: hubs[0], to: isolatedClient, within: .seconds(3))
            #expect(healed < .milliseconds(500), "delivered by Redis after \(healed)")
        }
    }

    @Test func rejectedAndClosedConnectionsRecover() async throws {
        try await Self.runBehindProxy(crashes: TestScale.pick(2, full: 10), longestLag: .seconds(4)) {
            proxy, hubs, _, isolatedClient in
            try await proxy.switchTo(.refuseConnections)
            try await hubs[1].waitUntilDegraded(within: .seconds(3))
            let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: isolatedClient, within: .seconds(3))
            #expect(lag < .seconds(2), "delivered by version sweep after \(lag)")
            try await proxy.switchTo(.forward)
            try await hubs[1].waitUntilDelivering(within: .seconds(15))
            try await proxy.closeConnections()
            try await hubs[1].waitUntilDelivering(within: .seconds(5))
        }
    }
}
