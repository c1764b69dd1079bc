import FlowCore
import FlowTestKit
import Testing

/// The legacy service publishes on flows that the hub has never seen, in the shapes of its services.
@Suite(.serialized, .postgres(), .redis()) struct ForeignUpdatesTests {
    private static func running(
        _ environment: [String: String], _ body: @Sendable (HubProcess, LegacyService) async throws -> Void
    ) async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        try await LegacyService.running(["REDIS_URL": redis.url]) { service in
            try await RedisHubs.running([redis.url], on: try SharedPostgres.server, environment) { hubs in
                try await body(hubs[0], service)
            }
        }
    }

    private static func watcher(
        _ flow: String, _ hub: HubProcess, _ token: TestToken? = nil
    ) async throws -> EventStreamClient {
        let target = StreamTarget.flow(flow).with { if let token { $0.headers.append(token.header) } }
        let client = EventStreamClient(target, port: hub.port)
        try await client.connect()
        _ = try await client.next(event: "caught_up")
        return client
    }

    private static func publish(_ event: String, to flow: String, _ service: LegacyService) async throws {
        try await service.call("redis_cache.publish_event", #"{"channel":"flow:updates:\#(flow)","event":\#(event)}"#)
    }

    @Test func deliversMessagesOfUnseenFlowInEveryShape() async throws {
        try await Self.running(["FLOWHUB_SEED_UPDATES": "deliver"]) { hub, service in
            let client = try await Self.watcher("unseen", hub)
            try await service.call("state_manager.update_state", #"{"flow_id":"unseen","updates":{"progress":40}}"#)
            let update = try await client.next(event: "state_update")
            #expect(update.json.member("updates")?.string == #"{"progress":40}"#)
            #expect(update.json.member("foreign")?.boolValue == true && update.id == nil)
            let shapes = [
                (#"{"type":"agent_message","message":"hello","agent":{"id":7}}"#, #"{"message":"hello","agent":{"id":7}}"#),
                (#"{"type":"agent_message","flow_id":"unseen","data":{"n":1},"timestamp":"t"}"#, #"{"n":1}"#),
                (#"{"type":"agent_message","flow_id":"unseen","data":1,"version":"2.1"}"#, #"{"data":1,"version":"2.1"}"#),
                (#"{"type":"agent_message","flow_id":null}"#, "{}"),
            ]
            for (message, data) in shapes {
                try await Self.publish(message, to: "unseen", service)
                let event = try await client.next(event: "agent_message")
                #expect(event.json.member("data")?.string == data, "\(message)")
                #expect(event.json.member("flow_id")?.stringValue == "unseen")
            }
            try await Self.publish(#"{"type":"state_update","updates":{"n":1},"crew":"c"}"#, to: "unseen", service)
            let more = try await client.next(event: "state_update")
            #expect(more.json.member("updates")?.string == #"{"n":1}"#)
            #expect(more.json.member("data")?.string == #"{"crew":"c"}"#)
            #expect(try await hub.api.state(of: "unseen") == nil)
        }
    }

    /// The default: what the service reports is still there after a reload.
    @Test func progressIsThereAfterReload() async throws {
        try await Self.running([:]) { hub, service in
            let client = try await Self.watcher("crew", hub)
            try await service.call("state_manager.update_state", #"{"flow_id":"crew","updates":{"progress":40}}"#)
            let update = try await client.next(event: "state_update")
            #expect(update.version == 1 && update.json.member("foreign") == nil)
            client.disconnect()
            try await service.call("state_manager.update_state", #"{"flow_id":"crew","updates":{"phase":"mapping"}}"#)
            try await eventually("the second change") { try await hub.api.state(of: "crew")?.version == 2 }
            // A flow that nobody watches.
            try await service.call("state_manager.update_state", #"{"flow_id":"other","updates":{"progress":1}}"#)
            try await eventually("the change of the other flow") { try await hub.api.state(of: "other")?.version == 1 }
            let reloaded = EventStreamClient(.flow("crew"), port: hub.port)
            try await reloaded.connect()
            let snapshot = try await reloaded.next(event: "snapshot")
            #expect(snapshot.json.member("state")?.string == #"{"progress":40,"phase":"mapping"}"#)
            // Events of other types are live only.
            try await Self.publish(#"{"type":"agent_message","message":"m"}"#, to: "crew", service)
            #expect(try await reloaded.next(event: "agent_message").json.member("foreign")?.boolValue == true)
        }
    }

    @Test(arguments: ["deliver", "apply"])
    func onlyWatchersOfTheNamedAccountHear(policy: String) async throws {
        let environment = [
            "FLOWHUB_SEED_UPDATES": policy, "FLOWHUB_SEED_ACCOUNT": "7", "FLOWHUB_JWT_KEY": TestToken.key,
        ]
        try await Self.running(environment) { hub, service in
            let (ours, theirs) = (TestToken(account: "7"), TestToken(account: "8"))
            _ = try await hub.api.with(header: theirs.header.name, theirs.header.value).put("b", try jsonText(#"{"n":1}"#))
            for flow in ["a", "b"] {
                let named = try await Self.watcher(flow, hub, ours)
                let other = try await Self.watcher(flow, hub, theirs)
                try await service.call("state_manager.update_state", #"{"flow_id":"\#(flow)","updates":{"n":2}}"#)
                try await Self.publish(#"{"type":"agent_message","message":"m"}"#, to: flow, service)
                let expected = flow == "a" || policy == "deliver" ? ["state_update", "agent_message"] : ["agent_message"]
                // In any order: a change is committed before its event is delivered.
                for event in expected {
                    try await named.waitUntil(event) { log in log.events(event).isEmpty ? nil : () }
                }
                // What the other account publishes itself is the first that its watcher receives.
                let api = hub.api.with(header: theirs.header.name, theirs.header.value)
                _ = try await api.publish("own", .null, to: flow, durable: false)
                _ = try await other.next(event: "own")
                #expect(other.log.events("state_update").isEmpty && other.log.events("agent_message").isEmpty)
            }
            let own = hub.api.with(header: theirs.header.name, theirs.header.value)
            #expect(try await own.state(of: "b")?.state.string == #"{"n":1}"#)
            try await eventually("the messages on the flow of another account to be counted") {
                try await hub.api.metric("flowhub_foreign_undelivered_total{reason=\"other_account\"}") ?? 0 >= 1
            }
            if policy == "apply" {
                let state = try await hub.api.with(header: ours.header.name, ours.header.value).state(of: "a")
                #expect(state?.state.string == #"{"n":2}"#)
            }
        }
    }

    @Test func undeliveredMessagesAreCountedByReasonAndLoggedWithRemedy() async throws {
        let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_BUS_MESSAGE_BYTES": "1024"]
        try await Self.running(environment) { hub, service in
            let token = TestToken()
            let client = try await Self.watcher("job", hub, token)
            let long = String(repeating: "x", count: 2_000)
            let messages = [
                ("no_account", #"{"type":"agent_message","message":"m"}"#),
                ("malformed", #"{"type":"two words"}"#), ("malformed", #"{"type":"state_update","updates":[1]}"#),
                ("malformed", #"["no object"]"#), ("reserved_type", #"{"type":"error","message":"m"}"#),
                ("other_flow", #"{"type":"agent_message","flow_id":"other"}"#),
                ("forged", #"{"type":"agent_message","mac":"00"}"#),
                ("too_large", #"{"type":"agent_message","message":"\#(long)"}"#),
            ]
            for _ in 0..<3 { for (_, message) in messages { try await Self.publish(message, to: "job", service) } }
            var expected: [String: Double] = [:]
            for (reason, _) in messages { expected[reason, default: 0] += 3 }
            for (reason, count) in expected {
                try await eventually("the count of \(reason)") {
                    try await hub.api.metric("flowhub_foreign_undelivered_total{reason=\"\(reason)\"}") == count
                }
                let lines = hub.log.split(separator: "\n").filter {
                    $0.contains("Foreign message not delivered") && $0.contains("reason=\(reason) ")
                }
                #expect(lines.count == 1 && lines[0].contains("flow_id=job") && lines[0].contains("remedy="), "\(lines)")
            }
            #expect(hub.log.contains("set FLOWHUB_SEED_ACCOUNT"))
            // With the owner known, messages reach the owner's subscribers, as they did before there was the setting.
            _ = try await hub.api.with(header: token.header.name, token.header.value).put("job", try jsonText("{}"))
            _ = try await client.next(event: "state_update")
            try await Self.publish(messages[0].1, to: "job", service)
            _ = try await client.next(event: "agent_message")
            #expect(client.log.events("error").isEmpty)
        }
    }

    @Test func listensWithoutPermissionForAllFlowsByDelivering() async throws {
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        try await redis.command(["ACL", "SETUSER", "limited", "on", ">secret", "allkeys", "allchannels", "+@all", "-psubscribe"])
        try await LegacyService.running(["REDIS_URL": redis.url]) { service in
            let url = "redis://limited:secret@127.0.0.1:\(redis.port)"
            try await RedisHubs.running([url], on: try SharedPostgres.server) { hubs in
                let client = try await Self.watcher("job", hubs[0])
                try await eventually("the log line") {
                    hubs[0].log.contains("Redis does not permit to subscribe to the messages of all flows")
                }
                try await hubs[0].waitUntilDelivering()
                try await service.call("state_manager.update_state", #"{"flow_id":"job","updates":{"n":1}}"#)
                #expect(try await client.next(event: "state_update").json.member("foreign")?.boolValue == true)
            }
        }
    }

    @Test func accountNeedsKeys() async throws {
        let (exit, _, errors) = try await SettingsTests.run(["serve"], ["FLOWHUB_SEED_ACCOUNT": "7"])
        #expect(exit == .code(2) && errors.contains("FLOWHUB_SEED_ACCOUNT"), "\(errors)")
    }
}
