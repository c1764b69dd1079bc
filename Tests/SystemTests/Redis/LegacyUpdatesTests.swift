import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Legacy services publish next to two instances that apply their updates as changes.
@Suite(.serialized, .postgres(), .redis()) struct LegacyUpdatesTests {
    private static func publish(_ flow: String, _ updates: String, number: Int, on server: RedisServer) async throws {
        // In the format of Python's `json.dumps`.
        let text =
            #"{"type": "state_update", "flow_id": "\#(flow)", "updates": \#(updates), "timestamp": "2026-01-01T00:00:0\#(number)"}"#
        try await server.command(["PUBLISH", "flow:updates:\(flow)", text])
    }

    @Test func appliesEachLegacyUpdateOnceAcrossInstances() async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        let environment = ["REDIS_URL": redis.url, "FLOWHUB_SEED_UPDATES": "apply"]
        try await PostgresHubs.running(2, on: try SharedPostgres.server, environment) { hubs in
            let watchers = hubs.map { EventStreamClient(.flow("job"), port: $0.port) }
            for watcher in watchers {
                try await watcher.connect()
                _ = try await watcher.next(event: "caught_up")
            }
            try await eventually("one instance to subscribe to all flows") {
                try await redis.command(["PUBSUB", "NUMPAT"]).contains("1")
            }
            for number in 1...5 {
                for _ in 0..<2 { try await Self.publish("job", #"{"n\#(number)": \#(number)}"#, number: number, on: redis) }
            }
            for watcher in watchers {
                try await watcher.waitUntil("five changes") { log in log.events("state_update").count == 5 ? () : nil }
                let updates = watcher.log.events("state_update")
                #expect(Set(updates.map { $0.json.member("updates")?.string ?? "" }).count == 5)
                #expect(updates.allSatisfy { $0.id != nil && $0.json.member("foreign") == nil })
            }
            #expect(try await hubs[0].api.state(of: "job")?.version == 5)
            // The holder of the leader lease is killed; the other instance takes over.
            let holder = try await redis.command(["GET", "hub:apply"])
            var names: [String] = []
            for hub in hubs {
                names.append(try #require(try await hub.call("GET", "/health/ready").json.member("instance")?.stringValue))
            }
            let index = try #require(names.firstIndex { holder.contains($0) })
            try await hubs[index].kill()
            let survivor = hubs[1 - index]
            try await eventually("the other instance to subscribe to all flows", within: .seconds(30)) {
                let holder = try await redis.command(["GET", "hub:apply"])
                let patterns = try await redis.command(["PUBSUB", "NUMPAT"])
                return holder.contains(names[1 - index]) && patterns.contains("1")
            }
            try await Self.publish("job", #"{"n6": 6}"#, number: 6, on: redis)
            try await eventually("the next change") { try await survivor.api.state(of: "job")?.version == 6 }
        }
    }
}
