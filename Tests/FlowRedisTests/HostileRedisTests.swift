import FlowCore
import FlowTestKit
import Testing

@testable import FlowRedis

/// Hostile or broken input: foreign writes to the hub's keys and Redis channels, a read-only Redis, and stale entries.
@Suite(.serialized, .redis()) struct HostileRedisTests {
    private static func entry(_ instance: String, _ number: UInt64, _ flow: FlowID) -> ConnectionEntry {
        ConnectionEntry(
            connection: ConnectionID(instance: instance, number: number), flow: flow, account: "1", subject: "s", remote: "r",
            registeredAt: Timestamp(milliseconds: 5))
    }

    @Test func boundsOrIgnoresForgedCanariesCountsAndEntries() async throws {
        let flow = try #require(FlowID("f"))
        let server = try SharedRedis.server
        try await SharedRedis.flush()
        try await withServices(server.url) { services in
            for payload in ["", "1", "1 -9223372036854775808", "18446744073709551615", String(repeating: "0", count: 32) + "1"] {
                try await server.command(["PUBLISH", "hub:canary:i", payload])
                try await server.command(["PUBLISH", "hub:control:i", payload])
                try await server.command(["PUBLISH", "hub:control:all", payload])
            }
            try await server.command(["SADD", "hub:instances", "evil", "worse"])
            for name in ["evil", "worse"] {
                try await server.command(["SET", "hub:alive:\(name)", "boot"])
                try await server.command(["HSET", "hub:flows:\(name)", "f 1", "9223372036854775807"])
            }
            let fields = [
                #"{"boot":"boot","account":"1","subject":"s","remote":"r","registered":-9223372036854775808}"#,
                #"{"boot":"boot","account":"1","subject":"s","remote":"r","registered":9223372036854775807}"#,
                "[]", "no JSON", "{}",
            ]
            for (number, field) in fields.enumerated() {
                try await server.command(["HSET", "hub:connections:f", "evil.\(number)", field])
            }
            await services.registry.register([Self.entry("i", 1, flow)])
            try await eventually("others to be counted") { services.registry.count(of: flow, account: "1") > 1 }
            #expect(services.registry.count(of: flow, account: "1") <= 2_000_000_001)
            let listed = await services.registry.connections(of: flow)
            #expect(listed.map(\.connection.description) == ["evil.1", "i.1"])
            // A forged time of registration is clamped to a time that can be formatted.
            #expect(listed[0].registeredAt.description == "9999-12-31T23:59:59.999Z")
            #expect(services.bus.isDelivering)
        }
    }

    @Test func reloadsScriptsThatServerHasFlushed() async throws {
        let flow = try #require(FlowID("f"))
        let server = try SharedRedis.server
        try await SharedRedis.flush()
        try await withServices(server.url, instance: "a") { a in
            try await withServices(server.url, instance: "b") { b in
                try await server.command(["SCRIPT", "FLUSH"])
                await a.registry.register([Self.entry("a", 1, flow)])
                try await eventually("the connection to be listed") { await b.registry.connections(of: flow).count == 1 }
                #expect(a.bus.isDelivering)
            }
        }
    }

    @Test func replicaDoesNotCountAsDelivering() async throws {
        let server = try SharedRedis.server
        try await SharedRedis.flush()
        try await RedisServer.running(options: ["replicaof 127.0.0.1 \(server.port)"]) { replica in
            try await eventually("the replica to be in sync") {
                try await replica.command(["INFO", "replication"]).contains("master_link_status:up")
            }
            try await withServices(replica.url, waits: false) { services in
                try await eventually("a command to be rejected") {
                    try await replica.command(["INFO", "errorstats"]).contains("errorstat_READONLY")
                }
                #expect(!services.bus.isDelivering)
                try await replica.command(["REPLICAOF", "NO", "ONE"])
                try await eventually("the bus to deliver") { services.bus.isDelivering }
                // Demoted again, while the connections stay open.
                try await replica.command(["REPLICAOF", "127.0.0.1", "\(server.port)"])
                try await eventually("the demotion to be detected") { !services.bus.isDelivering }
            }
        }
    }

    @Test func repairsOverwrittenAndStaleConnectionEntries() async throws {
        let flow = try #require(FlowID("f"))
        let server = try SharedRedis.server
        try await SharedRedis.flush()
        try await withServices(server.url, instance: "b") { b in
            // Entries of an earlier process with the same instance name, which ended without cleanup.
            for key in ["hub:connections:f", "sse:connections:f"] {
                try await server.command(["HSET", key, "a.7", #"{"boot":"old"}"#])
            }
            try await server.command(["HSET", "hub:flows:a", "f", "5", "f 1", "5"])
            try await withServices(server.url, instance: "a") { a in
                await a.registry.register([Self.entry("a", 1, flow), Self.entry("a", 2, flow)])
                try await eventually("both to be seen") { await b.registry.connections(of: flow).count == 2 }
                #expect(try await server.command(["HKEYS", "hub:connections:f"]).contains("a.7") == false)
                // The hash of an earlier version of the hub.
                #expect(try await server.command(["EXISTS", "sse:connections:f"]) == "0")
                #expect(try await server.command(["HGET", "hub:flows:a", "f"]).contains("2"))
                try await eventually("two to be counted") { b.registry.count(of: flow, account: "1") == 2 }
                // Another program overwrites the key. Then Redis loses all other keys, too.
                try await server.command(["SET", "hub:connections:f", #"{"x":{}}"#])
                try await server.command(["DEL", "hub:alive:a", "hub:flows:a"])
                try await eventually("both to be seen again", within: .seconds(15)) {
                    await b.registry.connections(of: flow).count == 2
                }
                try await eventually("two to be counted again") { b.registry.count(of: flow, account: "1") == 2 }
            }
            try await eventually("none to be seen") { await b.registry.connections(of: flow).isEmpty }
            #expect(try await server.command(["EXISTS", "hub:alive:a"]).contains("0"))
        }
    }
}
