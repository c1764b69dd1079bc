import FlowCore
import FlowTestKit
import Testing

/// Two instances connected by Redis behave as one hub.
@Suite(.serialized, .postgres(), .redis()) struct TwoInstancesTests {
    private static func running(_ body: @Sendable ([HubProcess]) async throws -> Void) async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        try await RedisHubs.running(
            [redis.url, redis.url], on: try SharedPostgres.server, ["FLOWHUB_JWT_KEY": TestToken.key], body)
    }

    private static func stream(_ flow: String, at hub: HubProcess, _ token: TestToken = TestToken()) async throws
        -> EventStreamClient
    {
        let target = StreamTarget.flow(flow).with {
            $0.headers = [token.header]
            $0.wantsPresence = true
        }
        let client = EventStreamClient(target, port: hub.port, name: "\(token.subject) at \(hub.port)")
        try await client.connect()
        _ = try await client.next(event: "caught_up")
        return client
    }

    @Test func presenceAndDisconnectSpanInstances() async throws {
        try await Self.running { hubs in
            let clients = [
                try await Self.stream("job", at: hubs[0]), try await Self.stream("job", at: hubs[1]),
                try await Self.stream("job", at: hubs[1]),
            ]
            for client in clients {
                _ = try await client.next("three in the count", within: .seconds(5)) {
                    $0.event == "presence" && $0.count == 3
                }
            }
            let admin = TestToken(subject: "root", scopes: ["admin"]).header
            let stranger = TestToken(account: "8", scopes: ["admin"]).header
            try await eventually("all to be listed", within: .seconds(5)) {
                try await hubs[0].connections(of: "job", headers: [admin]).count == 3
            }
            #expect(try await hubs[0].connections(of: "job", headers: [stranger]).isEmpty)
            let remoteIDs = try await hubs[0].connections(of: "job", headers: [admin]).filter { $0.hasPrefix("hub-1.") }
            #expect(remoteIDs.count == 2)
            let target = "/v1/connections/\(remoteIDs[0])"
            #expect(try await hubs[0].call("DELETE", target, headers: [stranger]).status == 404)
            #expect(clients.allSatisfy { $0.isConnected })
            #expect(try await hubs[0].call("DELETE", target, headers: [admin]).status == 204)
            try await eventually("one of the two to be ended", within: .seconds(2)) {
                clients.dropFirst().filter { $0.isConnected }.count == 1
            }
            #expect(clients[0].isConnected)
            _ = try await clients[0].next("two in the count", within: .seconds(5)) { $0.event == "presence" && $0.count == 2 }
            #expect(try await hubs[0].call("DELETE", target, headers: [admin]).status == 404)
            #expect(try await hubs[0].call("DELETE", "/v1/connections/hub-7.1", headers: [admin]).status == 404)
            clients[0].disconnect()
            let remaining = try #require(clients.dropFirst().first { $0.isConnected })
            _ = try await remaining.next("one in the count", within: .seconds(5)) { $0.event == "presence" && $0.count == 1 }
        }
    }

    @Test func revocationEndsStreamsAtOtherInstance() async throws {
        try await Self.running { hubs in
            let anna = TestToken(subject: "anna", issuedIn: -5)
            let revoked = try await Self.stream("job", at: hubs[1], anna)
            let other = try await Self.stream("job", at: hubs[1], TestToken(subject: "ben", issuedIn: -5))
            let admin = TestToken(subject: "root", scopes: ["admin"]).header
            let reply = try await hubs[0].call("POST", "/v1/revocations", headers: [admin], body: #"{"subject":"anna"}"#)
            #expect(reply.status == 201, "\(reply.text)")
            try await revoked.waitUntilEnded(within: .seconds(1))
            #expect(revoked.log.newest.last?.json.string == #"{"type":"closing","reason":"revoked","reconnect":false}"#)
            #expect(other.isConnected)
            try await revoked.connect()
            #expect(revoked.log.status == 401)
        }
    }

    @Test func transientEventsReachSubscribersOfBothInstances() async throws {
        try await Self.running { hubs in
            let token = TestToken().header
            let apis = hubs.map { $0.api.with(header: token.name, token.value) }
            _ = try await apis[0].put("job", try jsonText(#"{"status":"running"}"#))
            let clients = [try await Self.stream("job", at: hubs[0]), try await Self.stream("job", at: hubs[1])]
            for number in 1...20 {
                let written = try await apis[0].publish("progress", try jsonText("\(number)"), to: "job", durable: false)
                #expect(written.status == 202)
            }
            for client in clients {
                _ = try await client.next("the last one", within: .seconds(2)) {
                    $0.event == "progress" && $0.json.member("data")?.intValue == 20
                }
                // Each event arrives at most once, in order, and without an id.
                let received = client.log.events("progress").compactMap { $0.json.member("data")?.intValue }
                #expect(received == received.sorted() && Set(received).count == received.count)
                #expect(client.log.events("progress").allSatisfy { $0.id == nil && $0.version == nil })
            }
            /// The latest transients `progress` and `eta` that a new subscriber receives.
            func latest(at hub: HubProcess) async throws -> [Int64?] {
                let newSubscriber = try await Self.stream("job", at: hub)
                defer { newSubscriber.disconnect() }
                let last = try #require(newSubscriber.log.events("snapshot").first).json.member("last")
                return ["progress", "eta"].map { last?.member($0)?.member("data")?.intValue }
            }
            for hub in hubs {
                try await eventually("a new subscriber to receive 20", within: .seconds(2)) {
                    try await latest(at: hub) == [20, nil]
                }
            }
            _ = try await apis[1].publish("progress", try jsonText("21"), to: "job", durable: false)
            _ = try await apis[1].publish("eta", try jsonText("7"), to: "job", durable: false)
            for hub in hubs {
                try await eventually("a new subscriber to receive the later ones", within: .seconds(2)) {
                    try await latest(at: hub) == [21, 7]
                }
            }
            // Replacing the state voids earlier transients on both instances.
            _ = try await apis[0].put("job", try jsonText(#"{"status":"again"}"#))
            for hub in hubs {
                try await eventually("no latest transients to remain", within: .seconds(2)) {
                    try await latest(at: hub) == [nil, nil]
                }
            }
        }
    }

    @Test func locksAndPatternsAreSharedByInstances() async throws {
        try await Self.running { hubs in
            let header = TestToken(scopes: ["locks", "patterns"]).header
            func call(_ hub: Int, _ method: String, _ target: String, _ body: String? = nil) async throws -> HTTPReply {
                try await hubs[hub].call(method, target, headers: [header], body: body)
            }
            let first = try await call(0, "POST", "/v1/locks/nightly", #"{"ttl":30}"#)
            #expect(first.status == 201, "\(first.text)")
            let held = try await call(1, "POST", "/v1/locks/nightly", #"{"ttl":30}"#)
            #expect(held.status == 409 && held.problemCode == "lock_held")
            let id = try #require(first.json.member("lock_id")?.stringValue)
            #expect(try await call(1, "PUT", "/v1/locks/nightly?lock_id=\(id)", #"{"ttl":60}"#).status == 200)
            #expect(try await call(1, "DELETE", "/v1/locks/nightly?lock_id=other").status == 409)
            #expect(try await call(1, "DELETE", "/v1/locks/nightly?lock_id=\(id)").status == 204)
            let second = try await call(1, "POST", "/v1/locks/nightly", #"{"ttl":30}"#)
            #expect(second.status == 201)
            let older = try #require(first.json.member("fencing_token")?.intValue)
            let newer = try #require(second.json.member("fencing_token")?.intValue)
            #expect(newer > older)

            // Exactly one of many concurrent requests acquires the lock.
            let acquired = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<20 {
                    group.addTask { try await call(number % 2, "POST", "/v1/locks/rush", #"{"ttl":30}"#).status }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(acquired.count { $0 == 201 } == 1 && acquired.count { $0 == 409 } == 19, "\(acquired)")

            let pattern = #"{"pattern":{"from":"a","to":"b"},"confidence":0.9}"#
            #expect(try await call(0, "PUT", "/v1/patterns/p", pattern).status == 201)
            #expect(try await call(1, "GET", "/v1/patterns/p").json.member("pattern")?.string == #"{"from":"a","to":"b"}"#)
            #expect(try await call(1, "PUT", "/v1/patterns/p", pattern).status == 200)
            #expect(try await call(1, "DELETE", "/v1/patterns/p").status == 204)
            #expect(try await call(0, "GET", "/v1/patterns/p").status == 404)
        }
    }
}
