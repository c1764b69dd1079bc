import FlowCore
import FlowTestKit
import Testing

/// A legacy service overwrites the hub's keys and publishes on its Redis channels, or a process with access to Redis
/// imitates the hub.
@Suite(.serialized, .postgres(), .redis()) struct ForeignWriterTests {
    private static func running(_ body: @Sendable ([HubProcess], RedisServer) async throws -> Void) async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        try await RedisHubs.running(
            [redis.url, redis.url], on: try SharedPostgres.server,
            ["FLOWHUB_MAX_BUS_MESSAGE_BYTES": "65536", "FLOWHUB_SEED_UPDATES": "deliver"]
        ) { try await body($0, redis) }
    }

    @Test func neverServesStateWrittenByForeignService() async throws {
        try await Self.running { hubs, redis in
            for flow in ["text", "table", "both", "list"] {
                _ = try await hubs[0].api.put(flow, try jsonText(#"{"n":1}"#))
                try await eventually("the state to be in Redis") {
                    try await redis.command(["GET", "flow:state:\(flow)"]) == #"{"n":1}"#
                }
            }
            let seed = #"{"n":666,"status":"completed"}"#
            try await redis.command(["SET", "flow:state:text", seed])
            try await redis.command(["SET", "flow:meta:table", #"{"version":666}"#])
            try await redis.command(["SET", "flow:state:both", seed, "EX", "60"])
            try await redis.command(["HSET", "flow:meta:both", "version", "666", "epoch", "zzzzzz.666", "record", seed])
            try await redis.command(["DEL", "flow:state:list"])
            try await redis.command(["RPUSH", "flow:state:list", "a", "b"])
            func check(_ version: Version, readsAt readers: [HubProcess]) async throws {
                for flow in ["text", "table", "both", "list"] {
                    for hub in readers {
                        let stored = try #require(try await hub.api.state(of: flow))
                        #expect(stored.version == version && stored.state.string == "{\"n\":\(version)}", "\(flow)")
                    }
                    let newSubscriber = EventStreamClient(.flow(flow), port: hubs[1].port)
                    try await newSubscriber.connect()
                    let snapshot = try await newSubscriber.next(event: "snapshot")
                    #expect(snapshot.version == version && snapshot.json.member("state")?.string == "{\"n\":\(version)}")
                    newSubscriber.disconnect()
                }
            }
            // The other instance has none of the states in memory.
            try await check(1, readsAt: hubs.reversed())
            // The next change succeeds.
            for flow in ["text", "table", "both", "list"] {
                let written = try await hubs[0].api.patch(flow, try jsonText(#"{"n":2}"#))
                #expect(written.version == 2, "\(written.reply.text)")
            }
            try await check(2, readsAt: [hubs[0]])
        }
    }

    @Test func ignoresForgedConnectionEntries() async throws {
        try await Self.running { hubs, redis in
            let clients = hubs.map { EventStreamClient(.flow("job"), port: $0.port) }
            for client in clients { try await client.connect() }
            for hub in hubs {
                try await eventually("both to be listed", within: .seconds(5)) {
                    try await hub.connections(of: "job").count == 2
                }
            }
            // Invalid fields, and fields of instances that never ran. Earlier versions had theirs in the second key.
            let dead = #"{"boot":"x","account":"0","subject":"x","remote":"x","registered":1,"registered_at":"x"}"#
            for key in ["hub:connections:job", "sse:connections:job"] {
                try await redis.command(["HSET", key, "hub-9.1", "{}", "nonsense", "x", "hub-0.x", "[]"])
                try await redis.command(["HSET", key, "hub-1.999999", dead, "hub-8.1", dead])
            }
            for hub in hubs { #expect(try await hub.connections(of: "job").count == 2) }
            #expect(clients.allSatisfy { $0.isConnected })
        }
    }

    @Test func respectsLockStoredAsBareID() async throws {
        try await Self.running { hubs, redis in
            try await redis.command(["SET", "lock:nightly", "5f0c", "EX", "30"])
            for hub in hubs {
                let acquired = try await hub.call("POST", "/v1/locks/nightly", body: #"{"ttl":30}"#)
                #expect(acquired.status == 409 && acquired.problemCode == "lock_held", "\(acquired.text)")
                let released = try await hub.call("DELETE", "/v1/locks/nightly?lock_id=5f0c")
                #expect(released.status == 409 || released.status == 404, "\(released.text)")
            }
            #expect(try await redis.command(["GET", "lock:nightly"]) == "5f0c")
            try await redis.command(["DEL", "lock:nightly"])
            #expect(try await hubs[1].call("POST", "/v1/locks/nightly", body: #"{"ttl":30}"#).status == 201)
        }
    }

    @Test func deliversOnlyValidForeignEventsWithoutID() async throws {
        try await Self.running { hubs, redis in
            _ = try await hubs[0].api.put("job", try jsonText(#"{"n":1}"#))
            let clients = hubs.map { EventStreamClient(.flow("job"), port: $0.port) }
            for client in clients {
                try await client.connect()
                _ = try await client.next(event: "caught_up")
            }
            let mac = String(repeating: "0", count: 32)
            let epoch = try await ModelRun.epoch(hubs[0], "show")
            let common = #""type":"forged","flow_id":"job","data":1,"timestamp":"2026-01-01T00:00:00Z""#
            let large = String(repeating: "x", count: 70_000)
            let rejected: [(reason: String, text: String)] = [
                ("forged", "{\"origin\":\"hub-0\",\"epoch\":\"\(epoch)\",\(common)}"),
                ("forged", "{\"version\":2,\"epoch\":\"\(epoch)\",\"account\":\"0\",\"origin\":\"hub-0\",\(common)}"),
                (
                    "forged",
                    "{\"mac\":\"\(mac)\",\"origin\":\"hub-0\",\"seq\":1,\"epoch\":\"\(epoch)\",\"account\":\"0\",\(common)}"
                ),
                ("forged", "{\"mac\":\"\(mac)\"}"),
                ("other_flow", #"{"type":"forged","flow_id":"other","data":1}"#),
                ("other_flow", #"{"type":"forged","flow_id":7,"data":1}"#),
                ("too_large", "{\"type\":\"forged\",\"flow_id\":\"job\",\"data\":\"\(large)\"}"),
                ("malformed", "no JSON"), ("malformed", #"{"type":"forged","flow_id":"job","data":"#), ("malformed", "[1]"),
                ("malformed", ""), ("reserved_type", #"{"type":"snapshot","flow_id":"job","data":1}"#),
                ("reserved_type", #"{"type":"closing","flow_id":"job","data":{"reason":"finished","reconnect":false}}"#),
            ]
            var expected: [String: Double] = [:]
            for (reason, text) in rejected {
                expected[reason, default: 0] += 1
                try await redis.publish("flow:updates:job", text)
            }
            try await redis.publish(
                "flow:updates:job", #"{"type":"state_update","flow_id":"job","updates":{"n":7},"timestamp":"t"}"#)
            try await redis.publish("flow:updates:job", #"{"type":"note","flow_id":"job","data":{"n":8},"timestamp":"t"}"#)
            for (hub, client) in zip(hubs, clients) {
                let update = try await client.next(event: "state_update")
                #expect(update.id == nil && update.json.member("foreign")?.boolValue == true, "\(update)")
                #expect(update.version == nil)
                let note = try await client.next(event: "note")
                #expect(note.id == nil && note.json.member("foreign")?.boolValue == true, "\(note)")
                for (reason, count) in expected {
                    let counted = try await hub.api.metric("flowhub_bus_refused_total{reason=\"\(reason)\"}")
                    #expect(counted == count, "\(reason)")
                }
                #expect(try await hub.api.metric("flowhub_bus_foreign_total") == 2)
                let received = client.log.blocks.map(\.event)
                #expect(!received.contains("forged") && !received.contains("closing"))
                #expect(client.log.events("snapshot").count == 1)
                #expect(try await hub.api.state(of: "job")?.state.string == #"{"n":1}"#)
            }
            // The flow's versions continue without a gap.
            #expect(try await hubs[1].api.patch("job", try jsonText(#"{"n":2}"#)).version == 2)
            for client in clients {
                let update = try await client.next("version 2", within: .seconds(1)) { $0.version == 2 }
                #expect(update.id?.hasSuffix("-2") == true && update.json.member("foreign") == nil)
                #expect(client.log.connections.count == 1)
            }
        }
    }
}

extension RedisServer {
    func publish(_ channel: String, _ message: String) async throws {
        try await self.command(["PUBLISH", channel, message])
    }
}
