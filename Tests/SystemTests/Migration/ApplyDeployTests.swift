import FlowCore
import FlowTestKit
import Testing

/// The legacy service publishes state updates while the instances that apply them are deployed, die and hang.
@Suite(.serialized, .postgres(), .redis()) struct ApplyDeployTests {
    private static let flows = ["crew-0", "crew-1", "crew-2"]
    private static let list = "[" + Self.flows.map { "\"\($0)\"" }.joined(separator: ",") + "]"

    /// Runs two instances and the legacy service.
    private static func running(
        _ environment: [String: String] = [:], _ body: @Sendable ([HubProcess], LegacyService, RedisServer) async throws -> Void
    ) async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        try await LegacyService.running(["REDIS_URL": redis.url]) { service in
            try await RedisHubs.running([redis.url, redis.url], on: try SharedPostgres.server, environment) { hubs in
                try await body(hubs, service, redis)
            }
        }
    }

    /// The instance that applies foreign updates.
    private static func leader(_ hubs: [HubProcess]) async throws -> Int {
        var leader = 0
        try await eventually("an instance to apply updates") {
            for (index, hub) in hubs.enumerated() where try await hub.api.metric("flowhub_foreign_leader") == 1 {
                leader = index
                return true
            }
            return false
        }
        return leader
    }

    /// Waits until an instance has applied all that it heard: if it is killed before, and no other instance has heard the same,
    /// updates are lost.
    private static func waitUntilApplied(by hub: HubProcess) async throws {
        try await eventually("all updates to be applied") { try await hub.api.metric("flowhub_foreign_pending") == 0 }
    }

    /// Publishes 60 messages a second while the body runs, and checks that each of them is one change, in order.
    private static func publishing(
        _ service: LegacyService, readFrom hub: HubProcess, _ body: () async throws -> Void
    ) async throws {
        try await service.call("publisher.start", #"{"flow_ids":\#(Self.list),"per_second":60}"#)
        try await body()
        try await eventually("a second of messages") { try await service.call("publisher.published").intValue ?? 0 >= 60 }
        let count = Int(try #require(try await service.call("publisher.stop").intValue))
        for (index, flow) in Self.flows.enumerated() {
            let numbers = Array(stride(from: index, to: count, by: Self.flows.count))
            try await eventually("all changes of \(flow)") {
                try await hub.api.state(of: flow)?.state.member("last")?.intValue == Int64(numbers.last ?? -1)
            }
            let history = try #require(try await hub.api.history(of: flow))
            let applied = history.events.compactMap { $0.member("updates")?.member("last")?.intValue.map { Int($0) } }
            #expect(applied == numbers, "\(flow): \(numbers.count) messages, \(applied.count) changes")
            let state = try #require(try await hub.api.state(of: flow)).state
            #expect(numbers.allSatisfy { state.member("n\($0)")?.intValue == Int64($0) })
        }
    }

    @Test func deployLosesNoUpdate() async throws {
        try await Self.running(["FLOWHUB_DRAIN_SECONDS": "1"]) { hubs, service, _ in
            try await Self.publishing(service, readFrom: hubs[0]) {
                for _ in 0..<TestScale.pick(2, full: 10) {
                    let old = try await Self.leader(hubs)
                    let exit = try await hubs[old].terminate()
                    #expect(exit == .code(0))
                    _ = try await Self.leader([hubs[1 - old]])
                    try await hubs[old].start()
                }
            }
        }
    }

    @Test func killLosesNoUpdateThatAnInstanceHeard() async throws {
        try await Self.running { hubs, service, _ in
            try await Self.publishing(service, readFrom: hubs[0]) {
                for _ in 0..<TestScale.pick(2, full: 10) {
                    let old = try await Self.leader(hubs)
                    try await Self.waitUntilApplied(by: hubs[old])
                    try await hubs[old].kill()
                    // Faster than the TTL of the lease, 5 s: the dead instance has no connection any more.
                    let start = ContinuousClock.now
                    _ = try await Self.leader([hubs[1 - old]])
                    #expect(ContinuousClock.now - start < .milliseconds(4_500))
                    try await hubs[old].start()
                }
            }
        }
    }

    @Test func hungInstanceIsReplacedAndAppliesNothingTwice() async throws {
        try await Self.running(["FLOWHUB_SEED_LEASE_MS": "1000"]) { hubs, service, _ in
            try await Self.publishing(service, readFrom: hubs[0]) {
                let hung = try await Self.leader(hubs)
                hubs[hung].pause()
                _ = try await Self.leader([hubs[1 - hung]])
                hubs[hung].resume()
                try await eventually("the instance that hung to notice") {
                    try await hubs[hung].api.metric("flowhub_foreign_leader") == 0
                }
            }
        }
    }

    @Test func lastInstanceAppliesWhatItHeardBeforeItEnds() async throws {
        try await Self.running(["FLOWHUB_DRAIN_SECONDS": "1"]) { hubs, service, _ in
            try await hubs[1].kill()
            try await service.call("publisher.start", #"{"flow_ids":\#(Self.list),"per_second":60}"#)
            _ = try await Self.leader([hubs[0]])
            hubs[0].requestTermination()
            // It drains: it has given the lease back, nobody took it, and it still hears.
            try await eventually("the drain") { hubs[0].log.contains("Draining streams") }
            let before = Int(try #require(try await service.call("publisher.published").intValue))
            _ = try await hubs[0].waitForExit()
            _ = try await service.call("publisher.stop")
            try await hubs[0].start()
            var applied: [Int64] = []
            for flow in Self.flows {
                let history = try #require(try await hubs[0].api.history(of: flow))
                applied += history.events.compactMap { $0.member("updates")?.member("last")?.intValue }
            }
            // All up to the last one that it heard, each once.
            let last = try #require(applied.max())
            #expect(last >= Int64(before))
            #expect(applied.sorted() == Array(0...last))
        }
    }

    @Test func equalMessagesAreAsManyChangesAsPublications() async throws {
        try await Self.running { hubs, service, redis in
            /// The same bytes each time for one value: without a time in them.
            func publish(_ value: String) async throws {
                let event = #"{"type":"state_update","flow_id":"job","updates":{"phase":"\#(value)"}}"#
                try await service.call("redis_cache.publish_event", #"{"channel":"flow:updates:job","event":\#(event)}"#)
            }
            for value in ["a", "b", "a"] { try await publish(value) }
            try await eventually("three changes") { try await hubs[0].api.state(of: "job")?.version == 3 }
            #expect(try await hubs[0].api.state(of: "job")?.state.string == #"{"phase":"a"}"#)
            // Two more are heard by an instance that does not apply them before it dies. The other one has heard all five, three
            // of which are changes already.
            let leader = try await Self.leader(hubs)
            hubs[leader].pause()
            for value in ["b", "a"] { try await publish(value) }
            try await hubs[leader].kill()
            let survivor = hubs[1 - leader]
            try await eventually("five changes", within: .seconds(20)) { try await survivor.api.state(of: "job")?.version == 5 }
            let history = try #require(try await survivor.api.history(of: "job"))
            let phases = history.events.compactMap { $0.member("updates")?.member("phase")?.stringValue }
            #expect(phases == ["a", "b", "a", "b", "a"])
            #expect(try await survivor.api.metric("flowhub_foreign_applied_total") == 2)
            // The next instance starts in the middle.
            try await hubs[leader].start()
            for value in ["b", "a", "a", "b"] { try await publish(value) }
            // The second of two equal patches in a row changes nothing.
            try await eventually("eight changes") { try await survivor.api.state(of: "job")?.version == 8 }
            #expect(try await redis.command(["PUBSUB", "NUMPAT"]) == "1")
        }
    }
}
