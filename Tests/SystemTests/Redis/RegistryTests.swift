import FlowCore
import FlowTestKit
import Testing

/// The registry is correct on all instances, even when instances die or pause.
@Suite(.serialized, .postgres()) struct RegistryTests {
    private static func running(
        _ count: Int, _ environment: [String: String] = [:], _ body: @Sendable ([HubProcess], RedisServer) async throws -> Void
    ) async throws {
        try await RedisServer.running { redis in
            let urls = Array(repeating: redis.url, count: count)
            try await RedisHubs.running(urls, on: try SharedPostgres.server, environment) { try await body($0, redis) }
        }
    }

    /// Opens streams, up to 32 at a time.
    private static func connect(_ count: Int, to hub: HubProcess, flow: @Sendable (Int) -> String) async throws
        -> [EventStreamClient]
    {
        let clients = (0..<count).map { EventStreamClient(.flow(flow($0)), port: hub.port, name: "stream \($0)") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for lane in 0..<32 {
                group.addTask {
                    for number in stride(from: lane, to: count, by: 32) { try await clients[number].connect() }
                }
            }
            try await group.waitForAll()
        }
        return clients
    }

    private static func waitForCount(
        _ count: Int, of flow: String, at hub: HubProcess, within limit: Duration = .seconds(15)
    ) async throws {
        try await eventually("\(count) connections of \(flow) to be listed", within: limit, every: .milliseconds(50)) {
            let ids = try await hub.connections(of: flow)
            return ids.count == count && Set(ids).count == count
        }
    }

    /// Each scenario waits for the same timeouts, so they run concurrently.
    @Test func registryStaysCorrectWhenInstancesDieOrPause() async throws {
        async let killed: Void = Self.killed()
        async let restarted: Void = Self.restarted()
        async let paused: Void = Self.paused()
        async let renewed: Void = Self.renewed()
        try await killed
        try await restarted
        try await paused
        try await renewed
    }

    /// The connections of a killed instance leave the registry within 15 s and are swept from Redis soon after.
    private static func killed() async throws {
        let count = TestScale.pick(500, full: 5_000)
        try await Self.running(2) { hubs, redis in
            let clients = try await Self.connect(count, to: hubs[0]) { _ in "crowd" }
            let other = try await Self.connect(2, to: hubs[1]) { $0 == 0 ? "crowd" : "elsewhere" }
            try await Self.waitForCount(count + 1, of: "crowd", at: hubs[1])
            try await Self.waitForCount(count + 1, of: "crowd", at: hubs[0])
            let fields = try await redis.command(["HLEN", "hub:connections:crowd"])
            #expect(fields == "\(count + 1)")
            try await hubs[0].kill()
            let died = ContinuousClock.now
            try await Self.waitForCount(1, of: "crowd", at: hubs[1])
            #expect(ContinuousClock.now - died < .seconds(15))
            try await eventually("the dead instance's fields to be swept", within: .seconds(30), every: .milliseconds(100)) {
                try await redis.command(["HLEN", "hub:connections:crowd"]) == "1"
            }
            #expect(ContinuousClock.now - died < .seconds(30))
            #expect(try await redis.command(["EXISTS", "hub:flows:hub-0"]) == "0")
            #expect(try await redis.command(["SMEMBERS", "hub:instances"]) == "hub-1")
            #expect(other.allSatisfy { $0.isConnected })
            for client in clients + other { client.disconnect() }
        }
    }

    /// An instance that is killed and immediately restarted under the same name keeps no entries of its previous run.
    private static func restarted() async throws {
        try await Self.running(2) { hubs, redis in
            let target = StreamTarget.flow("job").with { $0.wantsPresence = true }
            let watcher = EventStreamClient(target, port: hubs[1].port)
            try await watcher.connect()
            let clients = try await Self.connect(20, to: hubs[0]) { _ in "job" }
            try await Self.waitForCount(21, of: "job", at: hubs[1])
            _ = try await watcher.next("all connections in the count") { $0.event == "presence" && $0.count == 21 }
            try await hubs[0].kill()
            try await hubs[0].start()
            let fresh = try await Self.connect(3, to: hubs[0]) { _ in "job" }
            try await Self.waitForCount(4, of: "job", at: hubs[1], within: .seconds(20))
            try await eventually("the old entries to be swept", within: .seconds(20), every: .milliseconds(50)) {
                try await redis.command(["HLEN", "hub:connections:job"]) == "4"
            }
            _ = try await watcher.next("only live connections in the count") { $0.event == "presence" && $0.count == 4 }
            for client in clients + fresh { client.disconnect() }
        }
    }

    /// An instance that is paused for longer than its liveness timeout resumes, and each of its connections is listed
    /// once.
    private static func paused() async throws {
        try await Self.running(2) { hubs, redis in
            let clients = try await Self.connect(40, to: hubs[0]) { "job-\($0 % 2)" }
            for flow in ["job-0", "job-1"] { try await Self.waitForCount(20, of: flow, at: hubs[1]) }
            hubs[0].pause()
            for flow in ["job-0", "job-1"] { try await Self.waitForCount(0, of: flow, at: hubs[1]) }
            // In some runs, the other instance has swept the entries before the resume.
            if TestScale.isFull, Bool.random() {
                try await eventually("its fields to be swept", within: .seconds(30)) {
                    try await redis.command(["EXISTS", "hub:connections:job-0", "hub:connections:job-1"]) == "0"
                }
            }
            // Clients that disconnect during the pause must not be listed again.
            for client in clients.prefix(10) { client.disconnect() }
            hubs[0].resume()
            for hub in [hubs[1], hubs[0]] {
                for flow in ["job-0", "job-1"] { try await Self.waitForCount(15, of: flow, at: hub) }
            }
            for flow in ["job-0", "job-1"] {
                try await eventually("the hash of \(flow) to be correct") {
                    try await redis.command(["HLEN", "hub:connections:\(flow)"]) == "15"
                }
                #expect(try await redis.command(["HGET", "hub:flows:hub-0", flow]) == "15")
            }
            for client in clients.dropFirst(10) {
                #expect(client.isConnected && client.log.connections.count == 1)
                client.disconnect()
            }
            for flow in ["job-0", "job-1"] {
                try await Self.waitForCount(0, of: flow, at: hubs[1])
                try await eventually("the hash of \(flow) to be gone") {
                    try await redis.command(["EXISTS", "hub:connections:\(flow)"]) == "0"
                }
            }
        }
    }

    /// Connections that last longer than the TTL of their keys stay registered.
    private static func renewed() async throws {
        try await Self.running(2, ["FLOWHUB_REGISTRY_SECONDS": "30"]) { hubs, redis in
            let clients = try await Self.connect(3, to: hubs[0]) { _ in "job" }
            try await Self.waitForCount(3, of: "job", at: hubs[1])
            let keys = ["hub:connections:job", "hub:flows:hub-0", "hub:instances"]
            func remainingTTLs() async throws -> [Int] {
                var remaining: [Int] = []
                for key in keys { remaining.append(try #require(Int(try await redis.command(["PTTL", key])))) }
                return remaining
            }
            let rounds = TestScale.pick(1, full: 4)
            for _ in 0..<rounds {
                try await eventually("the keys to age", within: .seconds(15), every: .milliseconds(50)) {
                    try await remainingTTLs()[0] < 24_000
                }
                try await eventually("the keys to be renewed", within: .seconds(15), every: .milliseconds(50)) {
                    try await remainingTTLs().allSatisfy { $0 > 25_000 }
                }
            }
            try await Self.waitForCount(3, of: "job", at: hubs[1])
            #expect(clients.allSatisfy { $0.isConnected && $0.log.connections.count == 1 })
        }
    }

    @Test func registersManyConnectionsInFewRoundTrips() async throws {
        let count = TestScale.pick(2_000, full: 10_000)
        try await Self.running(1, ["FLOWHUB_MAX_CONNECTIONS": "12000"]) { hubs, redis in
            let before = try await redis.calls(of: "evalsha")
            let start = ContinuousClock.now
            let clients = try await Self.connect(count, to: hubs[0]) { "flow-\($0 % 100)" }
            try await eventually("all to be written", within: .seconds(10), every: .milliseconds(100)) {
                for flow in ["flow-0", "flow-99"]
                where try await redis.command(["HLEN", "hub:connections:\(flow)"]) != "\(count / 100)" { return false }
                return true
            }
            let calls = try await redis.calls(of: "evalsha") - before
            let duration = ContinuousClock.now - start
            // One for many entries, and the regular ones for as long as the connections need to arrive.
            let limit = count / 100 + Int(duration / .milliseconds(100))
            #expect(calls <= limit, "\(calls) calls in \(duration)")
            for client in clients { client.disconnect() }
        }
    }
}

extension EventBlock {
    /// Number of connections in a presence event.
    var count: Int64? { self.json.member("count")?.intValue }
}

extension RedisServer {
    /// Number of calls of a command, as counted by the server.
    func calls(of command: String) async throws -> Int {
        let lines = try await self.command(["INFO", "commandstats"]).split(whereSeparator: \.isNewline)
        let prefix = "cmdstat_\(command):calls="
        guard let line = lines.first(where: { $0.hasPrefix(prefix) }) else { return 0 }
        return Int(line.dropFirst(prefix.count).prefix { $0.isNumber }) ?? 0
    }
}
