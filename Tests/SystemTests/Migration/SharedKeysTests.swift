import FlowCore
import FlowTestKit
import Testing

/// Keys that the hubs and the legacy service both use, with the legacy service's own code beside two hubs.
@Suite(.serialized, .postgres(), .redis()) struct SharedKeysTests {
    private static func running(
        _ environment: [String: String] = [:],
        _ body: @Sendable ([HubProcess], LegacyService, RedisServer) async throws -> Void
    ) async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        try await LegacyService.running(["REDIS_URL": redis.url]) { service in
            try await RedisHubs.running([redis.url, redis.url], on: try SharedPostgres.server, environment) { hubs in
                try await body(hubs, service, redis)
            }
        }
    }

    // MARK: Streams

    /// The streams that an instance lists: those of the hub, and those of the legacy service.
    private static func listed(
        _ flow: String, at hub: HubProcess, headers: [(name: String, value: String)] = []
    ) async throws -> (own: [JSONText], foreign: [JSONText]) {
        let reply = try await hub.call("GET", "/v1/flows/\(flow)/connections", headers: headers)
        #expect(reply.status == 200, "\(reply.text)")
        let all = reply.json.member("connections")?.elements ?? []
        #expect(reply.json.member("count")?.intValue == Int64(all.count))
        return (
            all.filter { $0.member("foreign") == nil }, all.filter { $0.member("foreign")?.boolValue == true }
        )
    }

    /// The legacy service reads the list, adds its stream and writes the list back. Streams of the hub that come between the two
    /// steps, and every other, stay listed by every instance; so does the legacy service's.
    @Test func registrationsOfBothSidesLoseNoStream() async throws {
        try await Self.running { hubs, service, redis in
            func waitUntilListed(_ own: Int, _ foreign: [String]) async throws {
                for hub in hubs {
                    try await eventually("\(own) streams and \(foreign) to be listed", within: .seconds(5)) {
                        let listed = try await Self.listed("job", at: hub)
                        return listed.own.count == own
                            && listed.foreign.compactMap { $0.member("connection_id")?.stringValue } == foreign
                    }
                }
            }
            let first = EventStreamClient(.flow("job"), port: hubs[0].port)
            try await first.connect()
            try await waitUntilListed(1, [])
            try await service.call(
                "redis_cache.begin_sse_registration",
                #"{"flow_id":"job","connection_id":"py-1","metadata":{"user_id":5,"name":"Ünal"}}"#)
            let second = EventStreamClient(.flow("job"), port: hubs[1].port)
            try await second.connect()
            try await waitUntilListed(2, [])
            #expect(try await service.call("redis_cache.finish_sse_registration", #"{"flow_id":"job"}"#).boolValue == true)
            try await waitUntilListed(2, ["py-1"])
            let foreign = try #require(try await Self.listed("job", at: hubs[1]).foreign.first)
            #expect(foreign.member("metadata")?.member("user_id")?.intValue == 5)
            #expect(foreign.member("metadata")?.member("name")?.stringValue == "Ünal")
            let registered = try #require(foreign.member("registered_at")?.stringValue)
            #expect(registered.hasPrefix("20") && registered.hasSuffix("Z"), "\(registered)")

            // A write of the hub destroys nothing of the legacy service's, and no reader ever meets a key of the wrong type.
            let third = EventStreamClient(.flow("job"), port: hubs[0].port)
            try await third.connect()
            try await waitUntilListed(3, ["py-1"])
            try await service.call(
                "redis_cache.register_sse_connection", #"{"flow_id":"job","connection_id":"py-2","metadata":{}}"#)
            try await waitUntilListed(3, ["py-1", "py-2"])
            #expect(try await redis.command(["TYPE", "sse:connections:job"]) == "string")
            let seen = try await service.call("redis_cache.get_sse_connections", #"{"flow_id":"job"}"#)
            #expect(seen.members.map(\.key) == ["py-1", "py-2"])

            try await service.call("redis_cache.unregister_sse_connection", #"{"flow_id":"job","connection_id":"py-1"}"#)
            third.disconnect()
            try await waitUntilListed(2, ["py-2"])
            #expect((Int(try await redis.command(["TTL", "sse:connections:job"])) ?? 0) > 3_000)
            try await redis.command(["PEXPIRE", "sse:connections:job", "1"])
            try await waitUntilListed(2, [])
            #expect([first, second].allSatisfy { $0.isConnected && $0.log.connections.count == 1 })
        }
    }

    // MARK: Patterns

    @Test func mappingsOfEitherSideArePatternsOfTheOther() async throws {
        try await Self.running { hubs, service, redis in
            func cached(_ key: String) async throws -> String {
                try await service.call("redis_cache.get_mapping_pattern", "{\"pattern_key\":\"\(key)\"}").string
            }
            let path = "/v1/patterns/csv:people"
            try await service.call(
                "redis_cache.cache_mapping_pattern", #"{"pattern_key":"csv:people","pattern":{"Vorname":"first_name","n":[1.5]}}"#
            )
            for hub in hubs {
                #expect(
                    try await hub.call("GET", path).text
                        == #"{"pattern":{"Vorname":"first_name","n":[1.5]},"confidence":1}"#)
            }
            let put = try await hubs[0].call("PUT", path, body: #"{"pattern":{"Nachname":"last_name"},"confidence":0.93}"#)
            #expect(put.status == 200, "it replaces the legacy service's")
            #expect(try await cached("csv:people") == #"{"Nachname":"last_name"}"#)
            #expect(try await hubs[1].call("GET", path).text == #"{"pattern":{"Nachname":"last_name"},"confidence":0.93}"#)
            let seconds = Int(try await redis.command(["TTL", "hub:pattern:csv:people"])) ?? 0
            #expect(abs(seconds - (Int(try await redis.command(["TTL", "pattern:mapping:csv:people"])) ?? 0)) <= 1)
            // The last writer wins. What is left of the hub's pattern does not make the legacy service's the hub's.
            try await service.call(
                "redis_cache.cache_mapping_pattern", #"{"pattern_key":"csv:people","pattern":{"Nachname":"surname"}}"#)
            #expect(try await hubs[1].call("GET", path).text == #"{"pattern":{"Nachname":"surname"},"confidence":1}"#)

            // An import with such data finds the legacy service's mapping.
            let entry = try await hubs[0].store(TestUpload(#"[{"a":1}]"#, "", []))
            let key = try #require(try await hubs[0].get(entry.id, "/schema", []).json.member("pattern_key")?.stringValue)
            try await service.call(
                "redis_cache.cache_mapping_pattern", "{\"pattern_key\":\"\(key)\",\"pattern\":{\"a\":\"age\"}}")
            let mapping = try await hubs[1].get(entry.id, "/schema", []).json.member("mapping")
            #expect(mapping?.member("pattern")?.string == #"{"a":"age"}"#)

            for value in ["[1]", "7", "\"x\"", "{\"x\":\"" + String(repeating: "x", count: 70_000) + "\"}", #"{"a":NaN}"#] {
                try await redis.command(["SET", "pattern:mapping:odd", value])
                #expect(try await hubs[0].call("GET", "/v1/patterns/odd").status == 404, "\(value.prefix(20))")
            }
            try await hubs[1].kill()
            try await hubs[1].start(adding: ["FLOWHUB_SEED_PATTERNS": "false"])
            #expect(try await hubs[1].call("GET", path).status == 404)
            #expect(try await hubs[0].call("DELETE", path).status == 204)
            #expect(try await cached("csv:people") == "null")
        }
    }

    // MARK: Accounts

    /// With keys, the operator names the account of the legacy service's data; no other account gets any of it.
    @Test func onlyTheNamedAccountSharesWithTheLegacyService() async throws {
        let keys = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_SEED_ACCOUNT": "7"]
        try await Self.running(keys) { hubs, service, redis in
            func header(_ account: String) -> (name: String, value: String) {
                TestToken(account: account, scopes: ["patterns", "locks"]).header
            }
            try await service.call(
                "redis_cache.register_sse_connection", #"{"flow_id":"job","connection_id":"py-1","metadata":{}}"#)
            try await service.call("redis_cache.cache_mapping_pattern", #"{"pattern_key":"k","pattern":{"a":"b"}}"#)
            #expect(try await service.call("redis_cache.acquire_lock", #"{"resource":"nightly"}"#).stringValue != nil)
            for account in ["7", "8", "0"] {
                let (isTheirs, headers) = (account == "7", [header(account)])
                #expect(try await Self.listed("job", at: hubs[0], headers: headers).foreign.count == (isTheirs ? 1 : 0))
                #expect(try await hubs[1].call("GET", "/v1/patterns/k", headers: headers).status == (isTheirs ? 200 : 404))
                let lock = try await hubs[0].call("POST", "/v1/locks/nightly", headers: headers, body: #"{"ttl":30}"#)
                #expect(lock.status == (isTheirs ? 409 : 201), "\(account): \(lock.text)")
                let body = "{\"pattern\":{\"of\":\"\(account)\"},\"confidence\":1}"
                #expect(
                    try await hubs[0].call("PUT", "/v1/patterns/k", headers: headers, body: body).status == (isTheirs ? 200 : 201)
                )
            }
            let cached = try await service.call("redis_cache.get_mapping_pattern", #"{"pattern_key":"k"}"#)
            #expect(cached.string == #"{"of":"7"}"#)
            #expect(try await redis.command(["EXISTS", "pattern:mapping:8/k", "pattern:mapping:0/k"]) == "2")
            // An instance for which it is another account.
            try await service.call("redis_cache.cache_mapping_pattern", #"{"pattern_key":"l","pattern":{"a":"b"}}"#)
            try await hubs[1].kill()
            try await hubs[1].start(adding: ["FLOWHUB_SEED_ACCOUNT": "9"])
            for account in ["7", "0"] {
                #expect(try await Self.listed("job", at: hubs[1], headers: [header(account)]).foreign.isEmpty)
                #expect(try await hubs[1].call("GET", "/v1/patterns/l", headers: [header(account)]).status == 404)
            }
        }
    }

    // MARK: Other keys

    @Test func statesAreReadByTheLegacyServiceAndNeverBelievedFromIt() async throws {
        try await Self.running { hubs, service, redis in
            _ = try await hubs[0].api.put("job", try jsonText(#"{"n":1}"#))
            try await eventually("the legacy service to read the hub's state") {
                try await service.call("redis_cache.get_flow_state", #"{"flow_id":"job"}"#).string == #"{"n":1}"#
            }
            // Its own copy, from its own table; then it invalidates the key, as it does after each update.
            try await service.call("redis_cache.cache_flow_state", #"{"flow_id":"job","state":{"n":666}}"#)
            for hub in hubs.reversed() { #expect(try await hub.api.state(of: "job")?.state.string == #"{"n":1}"#) }
            try await service.call("redis_cache.delete", #"{"key":"flow:state:job"}"#)
            #expect(try await hubs[1].api.state(of: "job")?.state.string == #"{"n":1}"#)
            #expect(try await hubs[0].api.patch("job", try jsonText(#"{"n":2}"#)).version == 2)
            try await eventually("the legacy service to read the next state") {
                try await service.call("redis_cache.get_flow_state", #"{"flow_id":"job"}"#).string == #"{"n":2}"#
            }
            #expect((Int(try await redis.command(["TTL", "flow:state:job"])) ?? 0) > 3_000)
        }
    }

    @Test func samplesAndAnalysesAreReadByTheLegacyServiceAndNeverBelievedFromIt() async throws {
        try await Self.running { hubs, service, redis in
            let entry = try await hubs[0].store(TestUpload(#"[{"a":1},{"a":2}]"#, "", []))
            #expect(try await hubs[0].get(entry.id, "/sample", []).text.contains("2"))
            let analysis = try await hubs[0].get(entry.id, "/schema", []).json
            let key = "schema:analysis:\(entry.id)"
            try await eventually("both to be in Redis") {
                try await redis.command(["EXISTS", key, "import:sample:\(entry.id)"]) == "2"
            }
            let sample = try await service.call("redis_cache.get_import_sample", "{\"import_id\":\"\(entry.id)\"}")
            #expect(sample.string == #"[{"a":1},{"a":2}]"#)
            let read = try await service.call("redis_cache.get", "{\"key\":\"\(key)\"}")
            #expect(read.member("field_info")?.member("a") != nil && read.member("total_records")?.intValue == 2)
            try await service.call(
                "redis_cache.cache_import_sample", "{\"import_id\":\"\(entry.id)\",\"sample_data\":[{\"a\":666}]}")
            try await service.call("redis_cache.set", "{\"key\":\"\(key)\",\"value\":{\"pattern_key\":\"evil\"}}")
            for hub in hubs {
                #expect(try await hub.get(entry.id, "/sample", []).text.contains("666") == false)
                let schema = try await hub.get(entry.id, "/schema", []).json
                #expect(schema.member("pattern_key")?.string == analysis.member("pattern_key")?.string)
            }
        }
    }

    @Test func locksExcludeBothSidesAndCountersAddUp() async throws {
        try await Self.running(["FLOWHUB_COUNTER_SECONDS": "1"]) { hubs, service, redis in
            let id = try #require(try await service.call("redis_cache.acquire_lock", #"{"resource":"a"}"#).stringValue)
            let refused = try await hubs[0].call("POST", "/v1/locks/a", body: #"{"ttl":30}"#)
            #expect(refused.status == 409 && refused.problemCode == "lock_held", "\(refused.text)")
            #expect(try await hubs[0].call("DELETE", "/v1/locks/a?lock_id=\(id)").status == 409)
            let acquired = try await hubs[1].call("POST", "/v1/locks/b", body: #"{"ttl":30}"#)
            #expect(acquired.status == 201)
            #expect(try await service.call("redis_cache.acquire_lock", #"{"resource":"b"}"#).string == "null")
            let hubLock = try #require(acquired.json.member("lock_id")?.stringValue)
            // It compares what it reads, a JSON object, with an id.
            let release = "{\"resource\":\"b\",\"lock_id\":\"\(hubLock)\"}"
            #expect(try await service.call("redis_cache.release_lock", release).boolValue == false)
            #expect(try await hubs[1].call("DELETE", "/v1/locks/b?lock_id=\(hubLock)").status == 204)
            #expect(try await service.call("redis_cache.acquire_lock", #"{"resource":"b"}"#).stringValue != nil)

            try await service.call("redis_cache.increment_metric", #"{"metric_name":"events:durable","value":5}"#)
            for number in 1...3 { _ = try await hubs[number % 2].api.publish("note", .null, to: "job") }
            try await eventually("the sum of both sides") {
                // Two keys around midnight.
                var sum = 0
                for key in try await redis.command(["KEYS", "metric:events:durable:*"]).split(separator: "\n") {
                    sum += Int(try await redis.command(["GET", String(key)])) ?? 0
                }
                return sum == 8
            }
        }
    }
}
