import FlowCore
import FlowTestKit
import Testing

/// What an instance costs at a provider that bills commands, while nobody watches a flow.
@Suite(.postgres()) struct IdleCostTests {
    private static func running(
        _ environment: [String: String], _ body: @Sendable ([HubProcess], RedisServer) async throws -> Void
    ) async throws {
        try await RedisServer.running { redis in
            let own = environment.merging(["FLOWHUB_REDIS_THRIFTY": "true"]) { $1 }
            try await RedisHubs.running([redis.url, redis.url], on: try SharedPostgres.server, own) { try await body($0, redis) }
        }
    }

    /// Milliseconds until an instance that sends no heartbeat any more counts as dead.
    private static func livenessTTL(_ hub: Int, _ redis: RedisServer) async throws -> Int {
        Int(try await redis.command(["PTTL", "hub:alive:hub-\(hub)"])) ?? 0
    }

    /// Number of commands that Redis has executed, those in scripts included, without those of the test.
    private static func commands(_ redis: RedisServer) async throws -> Int {
        let own: Set<String> = ["info", "pttl", "command", "command|docs", "ping"]
        return try await redis.command(["INFO", "commandstats"]).split(whereSeparator: \.isNewline).reduce(into: 0) { sum, line in
            guard line.hasPrefix("cmdstat_"), let name = line.dropFirst(8).split(separator: ":").first,
                !own.contains(String(name)), let calls = line.firstRange(of: "calls=")
            else { return }
            sum += Int(line[calls.upperBound...].prefix { $0.isNumber }) ?? 0
        }
    }

    /// The scenarios mostly wait, so they run concurrently.
    @Test func thriftyInstanceIsCheapWhileIdleAndFastAtOnceWhenWatched() async throws {
        async let cheap: Void = Self.staysBelow300000CommandsAMonth()
        async let watched: Void = Self.isFastAtOnceForFirstWatcher()
        async let killed: Void = Self.isReplacedByNextProcessWhenKilled()
        try await cheap
        try await watched
        try await killed
    }

    /// All idle intervals are the same, so what is sent in one of a second is what is sent in one of two minutes.
    private static func staysBelow300000CommandsAMonth() async throws {
        let fast = [
            "FLOWHUB_REDIS_IDLE_SECONDS": "1", "FLOWHUB_REDIS_HEARTBEAT_MS": "100", "FLOWHUB_CANARY_MS": "100",
            "FLOWHUB_REDIS_SWEEP_MS": "1000",
        ]
        try await Self.running(fast) { hubs, redis in
            for hub in hubs.indices {
                try await eventually("instance \(hub) to be idle") { try await Self.livenessTTL(hub, redis) > 1_000 }
            }
            let intervals = 8
            let (canaries, before) = (try await redis.calls(of: "publish"), try await Self.commands(redis))
            try await eventually("\(intervals) idle intervals to pass", every: .milliseconds(100)) {
                try await redis.calls(of: "publish") >= canaries + intervals
            }
            let after = try await Self.commands(redis)
            let passed = try await redis.calls(of: "publish") - canaries
            // Each instance sends one canary per interval.
            let monthly = Double(after - before) / Double(passed) * 2_592_000 / 120
            #expect(monthly < 300_000, "\(monthly) commands a month, those in scripts included")
            var sent: [Double] = []
            for _ in 0..<2 {
                var sum = 0.0
                for hub in hubs {
                    sum += try #require(try await hub.api.metric("flowhub_redis_commands_total{command=\"EVALSHA\"}"))
                }
                sent.append(sum)
                if sent.count == 1 { sent.append(Double(try await redis.calls(of: "evalsha"))) }
            }
            #expect(sent[0] <= sent[1] && sent[1] <= sent[2], "the metric counts what Redis executes: \(sent)")
        }
    }

    private static func isFastAtOnceForFirstWatcher() async throws {
        let environment = ["FLOWHUB_REDIS_IDLE_SECONDS": "300", "FLOWHUB_SWEEP_SECONDS": "3600"]
        try await Self.running(environment) { hubs, redis in
            try await eventually("the instance to be idle") { try await Self.livenessTTL(0, redis) > 500_000 }
            let canaries = try await redis.calls(of: "publish")
            let client = EventStreamClient(.flow("job"), port: hubs[0].port)
            try await client.connect()
            try await eventually("its heartbeat", within: .seconds(2), every: .milliseconds(20)) {
                let ttl = try await Self.livenessTTL(0, redis)
                return ttl > 0 && ttl <= 12_000
            }
            try await eventually("canaries every second", within: .seconds(5)) {
                try await redis.calls(of: "publish") >= canaries + 3
            }
            #expect(try await Self.livenessTTL(1, redis) > 500_000, "the other instance has no watcher")
            for hub in hubs {
                try await eventually("the stream to be listed", within: .seconds(5)) {
                    try await hub.connections(of: "job").count == 1
                }
            }
            // An idle instance publishes like any other: nothing but Redis delivers this within the hour.
            try await RedisHubs.probe("job", from: hubs[1], to: client, within: .seconds(5))
            client.disconnect()
            try await eventually("the instance to be idle again", within: .seconds(20)) {
                try await Self.livenessTTL(0, redis) > 500_000
            }
            #expect(try await hubs[0].isStrictlyReady())
        }
    }

    /// Its liveness key, which would last for a quarter of an hour, must not keep the next process out of the registry.
    private static func isReplacedByNextProcessWhenKilled() async throws {
        let environment = ["FLOWHUB_REDIS_IDLE_SECONDS": "300", "FLOWHUB_REDIS_HEARTBEAT_MS": "500"]
        try await Self.running(environment) { hubs, redis in
            try await eventually("the instance to be idle") { try await Self.livenessTTL(0, redis) > 500_000 }
            try await hubs[0].kill()
            try await hubs[0].start()
            let client = EventStreamClient(.flow("job"), port: hubs[0].port)
            try await client.connect()
            try await eventually("the stream to be listed", within: .seconds(10)) {
                try await hubs[1].connections(of: "job").count == 1
            }
        }
    }
}
