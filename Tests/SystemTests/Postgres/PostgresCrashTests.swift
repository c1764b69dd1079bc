import FlowCore
import FlowTestKit
import Testing

/// Whichever process is killed, acknowledged events stay in the store and reach every subscriber.
@Suite(.serialized, .postgres()) struct PostgresCrashTests {
    private static let flows = ["orders-0", "orders-1", "orders-2"]

    private static func targets(_ count: Int) -> [StreamTarget] {
        (0..<count).map { $0 % 3 == 2 ? .flows(Self.flows) : .flow(Self.flows[$0 % 3]) }
    }

    @Test func acknowledgedEventsSurvivePostgresKill() async {
        await concurrently(PostgresHubs.Route.allCases, self.acknowledgedEventsSurvivePostgresKill(_:))
    }

    private func acknowledgedEventsSurvivePostgresKill(_ route: PostgresHubs.Route) async throws {
        let seed = UInt64.random(in: 1...999_999)
        let crashes = TestScale.pick(2, full: 20)
        let violations = try await PostgresServer.running { server in
            try await PostgresHubs.running(2, on: server, by: route) { hubs in
                let waiting = EventStreamClient(.flow("quiet"), port: hubs[0].port, name: "lasting subscriber")
                try await waiting.connect()
                let violations = try await CrashRun(
                    hubs: hubs, flows: Self.flows, targets: Self.targets(6), crashes: crashes
                ) { random in
                    try await server.kill()
                    try await Task.sleep(for: .milliseconds(random.number(0...1_500)))
                    try await server.start()
                }.run(seed: seed)
                // A stream survives the outage of the database and reports the delivery status.
                #expect(waiting.log.connections.count == 1 && waiting.isConnected)
                #expect(waiting.log.events("heartbeat").contains { $0.json.member("delivery")?.stringValue == "store_away" })
                try await waiting.waitUntil("delivery to be ok again") { log in
                    log.events("heartbeat").last?.json.member("delivery")?.stringValue == "ok" ? () : nil
                }
                return violations
            }
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }

    @Test func acknowledgedEventsSurviveInstanceKill() async {
        await concurrently(PostgresHubs.Route.allCases, self.acknowledgedEventsSurviveInstanceKill(_:))
    }

    private func acknowledgedEventsSurviveInstanceKill(_ route: PostgresHubs.Route) async throws {
        let seed = UInt64.random(in: 1...999_999)
        let violations = try await PostgresHubs.running(2, on: try SharedPostgres.server, by: route) { hubs in
            try await CrashRun(
                hubs: hubs, flows: Self.flows, targets: Self.targets(6), crashes: TestScale.pick(3, full: 20)
            ) { random in
                let hub = random.any(of: hubs)
                try await hub.kill()
                try await hub.start()
            }.run(seed: seed)
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }

    @Test("acknowledged events of 64 publishers survive random kills of two instances and Postgres")
    func acknowledgedEventsSurviveRandomKills() async throws {
        let seed = UInt64.random(in: 1...999_999)
        let flows = (0..<TestScale.pick(60, full: 1_000)).map { "flow-\($0)" }
        let violations = try await PostgresServer.running { server in
            try await PostgresHubs.running(2, on: server) { hubs in
                let groups = stride(from: 0, to: flows.count, by: 12).map { Array(flows[$0..<min($0 + 12, flows.count)]) }
                return try await CrashRun(
                    hubs: hubs, flows: flows, writers: 64, targets: groups.map { .flows($0) },
                    acknowledgementsPerCrash: TestScale.pick(300...900, full: 2_000...8_000),
                    crashes: TestScale.pick(4, full: 16),
                    minimumAcknowledgements: TestScale.pick(3_000, full: 100_000)
                ) { random in
                    if random.chance(40) {
                        try await server.kill()
                        try await server.start()
                    } else {
                        let hub = random.any(of: hubs)
                        try await hub.kill()
                        try await hub.start()
                    }
                }.run(seed: seed)
            }
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }

    @Test(arguments: [("afterCommit", "off"), ("afterCommit", "on"), ("afterPublish", "on")])
    func deliversOnceAfterCrashBetweenCommitAndPublish(_ failpoint: String, _ outbox: String) async throws {
        let server = try SharedPostgres.server
        let url = server.url(try await server.createDatabase())
        // With an outbox the version sweep is slow on purpose, so that the outbox relay must deliver.
        let sweep = ["FLOWHUB_OUTBOX": outbox, "FLOWHUB_SWEEP_SECONDS": outbox == "on" ? "60" : "1"]
        try await PostgresHubs.start(1, url, sweep) { hubs in
            let watcher = EventStreamClient(.flow("job"), port: hubs[0].port)
            try await watcher.connect()
            _ = try await watcher.next(event: "caught_up")
            let doomed = try await HubProcess.running(
                sweep.merging(["DATABASE_URL": url, "FLOWHUB_FAILPOINT": failpoint]) { $1 }
            ) { doomed in
                let answer = try? await doomed.api.publish("tick", try jsonText("1"), to: "job")
                let died = ContinuousClock.now
                _ = try await doomed.waitForExit(within: .seconds(5))
                if failpoint == "afterCommit" { #expect(answer == nil, "the publisher must not be answered") }
                let event = try await watcher.next(event: "tick", within: .seconds(4))
                #expect(event.version == 1)
                return event.at - died
            }
            #expect(doomed < .seconds(2), "delivered by the other instance after \(doomed)")
            // No event is delivered twice: the next event has the next version.
            #expect(try await hubs[0].api.publish("tick", try jsonText("2"), to: "job").version == 2)
            _ = try await watcher.next("version 2") { $0.version == 2 }
            #expect(watcher.log.events("tick").map(\.version) == [1, 2])
        }
    }
}
