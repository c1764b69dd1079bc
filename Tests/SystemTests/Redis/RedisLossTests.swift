import FlowCore
import FlowTestKit
import Testing

/// Redis is killed, hangs, or disconnects the instances during traffic. Streams stay open, writes are acknowledged,
/// durable events arrive, and after recovery Redis is used as before.
@Suite(.serialized, .postgres()) struct RedisLossTests {
    private static let flows = ["orders-0", "orders-1", "orders-2"]

    private static func targets(_ count: Int) -> [StreamTarget] {
        (0..<count).map { $0 % 3 == 2 ? .flows(Self.flows) : .flow(Self.flows[$0 % 3]) }
    }

    /// Waits until both instances list each connection of each flow exactly once.
    private static func waitForRegistry(_ hubs: [HubProcess], _ targets: [StreamTarget]) async throws {
        for flow in Self.flows {
            let count = targets.count { $0.flows.contains(flow) }
            for hub in hubs {
                try await eventually("the \(count) connections of \(flow) to be listed", within: .seconds(15)) {
                    let ids = try await hub.connections(of: flow)
                    return ids.count == count && Set(ids).count == count
                }
            }
        }
    }

    @Test func durableEventsArriveAcrossRedisKill() async throws {
        let seed = UInt64.random(in: 1...999_999)
        let targets = Self.targets(6)
        let violations = try await RedisServer.running { redis in
            try await RedisHubs.running([redis.url, redis.url], on: try SharedPostgres.server) { hubs in
                try await HealthMonitor.monitoring(plain: hubs) {
                    try await CrashRun(
                        hubs: hubs, flows: Self.flows, targets: targets, crashes: TestScale.pick(2, full: 20),
                        longestLag: .seconds(3)
                    ) { random in
                        try await Self.waitForRegistry(hubs, targets)
                        try await redis.kill()
                        for hub in hubs { try await hub.waitUntilDegraded(within: .seconds(3)) }
                        try await Task.sleep(for: .milliseconds(random.number(TestScale.pick(0...1_000, full: 0...2_500))))
                        for hub in hubs { #expect(try await !hub.isStrictlyReady()) }
                        try await redis.start()
                        for hub in hubs { try await hub.waitUntilDelivering(within: .seconds(15)) }
                        try await Self.waitForRegistry(hubs, targets)
                    }.run(seed: seed)
                }
            }
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }

    @Test func durableEventsArriveWhileRedisIsPaused() async throws {
        let seed = UInt64.random(in: 1...999_999)
        let targets = Self.targets(6)
        let outage = TestScale.pick(Duration.seconds(5), full: .seconds(10))
        let violations = try await RedisServer.running { redis in
            try await RedisHubs.running([redis.url, redis.url], on: try SharedPostgres.server) { hubs in
                try await HealthMonitor.monitoring(plain: hubs) {
                    let watcher = EventStreamClient(.flow("quiet"), port: hubs[1].port, name: "permanent subscriber")
                    try await watcher.connect()
                    _ = try await watcher.next(event: "caught_up")
                    // Until an instance detects the outage, events of the other one are late by the detection time.
                    return try await CrashRun(
                        hubs: hubs, flows: Self.flows, targets: targets, crashes: TestScale.pick(1, full: 3),
                        longestLag: .seconds(6)
                    ) { _ in
                        redis.pause()
                        let paused = ContinuousClock.now
                        for hub in hubs {
                            let degradedAt = try await hub.waitUntilDegraded(within: .seconds(5))
                            #expect(degradedAt - paused < .milliseconds(3_500), "degraded after \(degradedAt - paused)")
                        }
                        _ = try await watcher.next("a degraded heartbeat", within: .seconds(1)) { $0.isHeartbeat("degraded") }
                        while ContinuousClock.now - paused < outage {
                            let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: watcher, within: .seconds(3))
                            #expect(lag < .seconds(2), "delivered by version sweep after \(lag)")
                        }
                        redis.resume()
                        for hub in hubs { try await hub.waitUntilDelivering(within: .seconds(15)) }
                        _ = try await watcher.next("an ok heartbeat", within: .seconds(1)) { $0.isHeartbeat("ok") }
                        let lag = try await RedisHubs.probe("quiet", from: hubs[0], to: watcher, within: .seconds(3))
                        #expect(lag < .milliseconds(500), "delivered by Redis after \(lag)")
                        try await Self.waitForRegistry(hubs, targets)
                    }.run(seed: seed)
                }
            }
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }

    @Test func durableEventsArriveAfterRedisClosesSubscribers() async throws {
        let seed = UInt64.random(in: 1...999_999)
        let targets = Self.targets(6)
        let options = ["client-output-buffer-limit pubsub 64kb 64kb 1"]
        let violations = try await RedisServer.running(options: options) { redis in
            try await RedisHubs.running([redis.url, redis.url], on: try SharedPostgres.server) { hubs in
                try await HealthMonitor.monitoring(plain: hubs) {
                    let watcher = EventStreamClient(.flow("large"), port: hubs[1].port, name: "subscriber of large events")
                    try await watcher.connect()
                    _ = try await watcher.next(event: "caught_up")
                    let text = String(repeating: "x", count: 100_000)
                    let violations = try await CrashRun(
                        hubs: hubs, flows: Self.flows, targets: targets, crashes: TestScale.pick(3, full: 20),
                        longestLag: .seconds(3)
                    ) { random in
                        if random.chance(50) {
                            #expect(try await redis.command(["CLIENT", "KILL", "TYPE", "pubsub"]) != "0")
                        } else {
                            // A message that exceeds the server's output buffer limit.
                            let before = try await redis.subscribers()
                            #expect(before.count == 2)
                            let written = try await hubs[0].api.publish("large", try jsonText("\"\(text)\""), to: "large")
                            #expect(written.isAcknowledged, "\(written.reply.text)")
                            _ = try await watcher.next("the large event", within: .seconds(3)) { $0.version == written.version }
                            try await eventually("the subscriber connections to be replaced", within: .seconds(5)) {
                                let now = try await redis.subscribers()
                                return now.count == 2 && now != before
                            }
                        }
                        for hub in hubs { try await hub.waitUntilDelivering(within: .seconds(5)) }
                    }.run(seed: seed)
                    #expect(watcher.log.connections.count == 1 && watcher.isConnected)
                    return violations
                }
            }
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }
}

extension EventBlock {
    func isHeartbeat(_ delivery: String) -> Bool {
        self.event == "heartbeat" && self.json.member("delivery")?.stringValue == delivery
    }
}

extension RedisServer {
    /// The ids of all clients with a subscription.
    func subscribers() async throws -> Set<Substring> {
        let list = try await self.command(["CLIENT", "LIST", "TYPE", "pubsub"])
        return Set(list.split(whereSeparator: \.isNewline).compactMap { $0.split(separator: " ").first })
    }
}
