import FlowCore
import FlowTestKit
import Foundation
import Testing

/// What hubs on one Postgres and one Redis do with entries that another program has written to Redis, and that accounts do
/// not meet there.
@Suite(.serialized, .postgres(), .redis()) struct RedisTrustTests {
    private static func running(
        _ count: Int, _ environment: [String: String] = [:], _ body: @Sendable ([HubProcess], RedisServer) async throws -> Void
    ) async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        try await RedisHubs.running(
            Array(repeating: redis.url, count: count), on: try SharedPostgres.server, environment
        ) { try await body($0, redis) }
    }

    /// The instance has just started, so it knows no version of the flow itself, and no version sweep helps it.
    @Test func earlierStateWrittenBackIsNeverServed() async throws {
        try await Self.running(2, ["FLOWHUB_SWEEP_SECONDS": "3600"]) { hubs, redis in
            func value(_ key: String, _ field: String) async throws -> String { try await redis.command(["HGET", key, field]) }
            let flow = "job"
            _ = try await hubs[0].api.put(flow, try jsonText(#"{"n":1}"#))
            try await eventually("version 1 to be in Redis") { try await value("flow:meta:job", "version") == "1" }
            let (epoch, record) = (try await value("flow:meta:job", "epoch"), try await value("flow:meta:job", "record"))
            _ = try await hubs[0].api.patch(flow, try jsonText(#"{"n":2}"#))
            try await eventually("version 2 to be in Redis") { try await value("flow:meta:job", "version") == "2" }
            for _ in 0..<2 {
                try await hubs[1].kill()
                try await redis.command(["SET", "flow:state:job", #"{"n":1}"#])
                try await redis.command(["HSET", "flow:meta:job", "epoch", epoch, "version", "1", "record", record])
                try await hubs[1].start()
                let stored = try #require(try await hubs[1].api.state(of: flow))
                #expect(stored.version == 2 && stored.state.string == #"{"n":2}"#)
            }
            // The same for a subscriber, and for the memory of an instance that has another state already.
            let client = EventStreamClient(.flow(flow), port: hubs[1].port)
            try await client.connect()
            #expect(try await client.next(event: "snapshot").version == 2)
            client.disconnect()
        }
    }

    @Test func accountsMeetNeitherInLocksNorInPatterns() async throws {
        let limits = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_ACCOUNT_LOCKS": "3", "FLOWHUB_MAX_ACCOUNT_PATTERNS": "3",
        ]
        try await Self.running(2, limits) { hubs, redis in
            func call(_ hub: Int, _ account: String, _ method: String, _ target: String, _ body: String? = nil) async throws
                -> HTTPReply
            {
                let token = TestToken(account: account, scopes: ["locks", "patterns"])
                return try await hubs[hub].call(method, "/v1/" + target, headers: [token.header], body: body)
            }
            for number in 0..<3 { #expect(try await call(number % 2, "7", "POST", "locks/r\(number)").status == 201) }
            let full = try await call(1, "7", "POST", "locks/r3")
            #expect(full.status == 429 && full.problemCode == "too_many_account_locks" && full.header("retry-after") != nil)
            #expect(full.text.contains("FLOWHUB_MAX_ACCOUNT_LOCKS"))
            #expect(try await hubs[1].api.metric("flowhub_limit_rejections_total{limit=\"account_locks\"}") == 1)
            #expect(try await call(0, "7", "POST", "locks/r1").problemCode == "lock_held")
            let other = try await call(1, "8", "POST", "locks/r0")
            #expect(other.status == 201)
            let id = try #require(other.json.member("lock_id")?.stringValue)
            #expect(try await call(0, "7", "DELETE", "locks/r0?lock_id=\(id)").problemCode == "lock_not_yours")
            #expect(try await call(0, "9", "DELETE", "locks/r0?lock_id=\(id)").problemCode == "not_found")

            for number in 0..<4 {
                let body = "{\"pattern\":\(number),\"confidence\":1}"
                #expect(try await call(number % 2, "7", "PUT", "patterns/k\(number)", body).status == 201)
            }
            let theirs = #"{"pattern":"theirs","confidence":1}"#
            #expect(try await call(1, "8", "PUT", "patterns/k3", theirs).status == 201)
            #expect(try await call(0, "7", "GET", "patterns/k3").text == #"{"pattern":3,"confidence":1}"#)
            #expect(try await call(0, "8", "GET", "patterns/k3").text == theirs)
            #expect(try await call(0, "8", "GET", "patterns/k2").status == 404)
            #expect(try await call(0, "7", "GET", "patterns/k0").status == 404, "the account's oldest makes room")
            var evictions = 0.0
            for hub in hubs { evictions += try #require(try await hub.api.metric("flowhub_pattern_evictions_total")) }
            #expect(evictions == 1)
            #expect(
                try await redis.command(["KEYS", "pattern:mapping:*"]).split(separator: "\n").sorted().map { String($0) } == [
                    "pattern:mapping:7/k1", "pattern:mapping:7/k2", "pattern:mapping:7/k3", "pattern:mapping:8/k3",
                ])
        }
    }

    /// The pattern key of a schema analysis selects the mapping pattern. A forged analysis must not select another one.
    @Test func forgedAnalysisSelectsNoMapping() async throws {
        try await Self.running(1, ["FLOWHUB_JWT_KEY": TestToken.key]) { hubs, redis in
            let header = TestToken(scopes: ["imports", "patterns"]).header
            let entry = try await hubs[0].store(TestUpload(#"[{"a":1}]"#, "", [header]))
            let genuine = try await hubs[0].get(entry.id, "/schema", [header]).json
            let key = try #require(genuine.member("pattern_key")?.stringValue)
            for name in [key, "evil"] {
                let body = "{\"pattern\":\"\(name)\",\"confidence\":1}"
                let put = try await hubs[0].call("PUT", "/v1/patterns/\(name)", headers: [header], body: body)
                #expect(put.status == 201)
            }
            let redisKey = "schema:analysis:\(entry.id)"
            try await eventually("the analysis to be in Redis") { try await redis.command(["EXISTS", redisKey]) == "1" }
            let cached = try await redis.command(["GET", redisKey])
            #expect(cached.contains(key))
            try await redis.command(["SET", redisKey, cached.replacingOccurrences(of: key, with: "evil")])
            let schema = try await hubs[0].get(entry.id, "/schema", [header]).json
            #expect(schema.member("pattern_key")?.stringValue == key)
            #expect(schema.member("mapping")?.member("pattern")?.stringValue == key)
            try await redis.command(["SET", "import:sample:\(entry.id)", #"[{"a":666}]"#])
            #expect(try await hubs[0].get(entry.id, "/sample", [header]).text.contains("666") == false)
        }
    }
}
