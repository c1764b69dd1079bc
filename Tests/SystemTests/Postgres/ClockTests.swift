import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Instances whose wall clocks are wrong, on one database. libfaketime shifts the clock of a hub's process.
@Suite(.serialized, .postgres()) struct ClockTests {
    private static let shifts: [(text: String, seconds: Double)] = [
        ("+1h", 3_600), ("-1h", -3_600), ("+30d", 2_592_000), ("-30d", -2_592_000),
    ]

    @Test func aWrongClockRemovesNothingAndTakesNoLock() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        try await PostgresHubs.start(1, server.url(database), ["FLOWHUB_PRUNE_SECONDS": "1"]) { hubs in
            let right = hubs[0]
            for number in 0..<20 { _ = try await right.api.publish("tick", try jsonText("\(number)"), to: "kept") }
            let lock = try await right.api.call("POST", "/v1/locks/job", try jsonText(#"{"ttl":300}"#))
            #expect(lock.status == 201)
            await concurrently(Self.shifts) { shift in
                let environment = ["DATABASE_URL": server.url(database), "FLOWHUB_PRUNE_SECONDS": "1", "FAKETIME": shift.text]
                try await HubProcess.running(environment) { wrong in
                    try await Self.check(wrong, shiftedBy: shift.seconds, beside: right)
                    // The hub with the right clock prunes three times, so the other one has tried at least twice.
                    for _ in 0..<3 { try await Self.waitForPruning(server, database, "aged\(Int(shift.seconds))") }
                    let history = try await wrong.api.history(of: "kept")
                    #expect(history?.events.count == 20, "\(shift.text)")
                }
            }
            let history = try await right.api.history(of: "kept")
            #expect(history?.events.count == 20)
        }
    }

    /// Checks what a hub with a wrong clock says and does.
    private static func check(_ wrong: HubProcess, shiftedBy seconds: Double, beside right: HubProcess) async throws {
        #expect(wrong.log.contains("Clock differs from the store's clock"), "\(wrong.log)")
        let offset = try #require(try await wrong.api.metric("flowhub_clock_offset_seconds"))
        #expect(abs(offset - seconds) < 5)
        let ready = try await wrong.api.call("GET", "/health/ready")
        #expect(ready.status == 200)
        #expect(abs((ready.json.member("clock_offset_seconds")?.doubleValue ?? 0) - seconds) < 5)
        let rightOffset = try #require(try await right.api.metric("flowhub_clock_offset_seconds"))
        #expect(abs(rightOffset) < 2)
        let rightReady = try await right.api.call("GET", "/health/ready")
        #expect(rightReady.json.member("clock_offset_seconds") == nil)

        let taken = try await wrong.api.call("POST", "/v1/locks/job", try jsonText(#"{"ttl":300}"#))
        #expect(taken.status == 409, "\(taken.text)")
        // Times are those of the store's clock, from whichever instance they come, and do not stay ahead of it.
        let flow = "times\(Int(seconds))"
        for hub in [wrong, right, wrong] {
            let published = try await hub.api.publish("tick", .null, to: flow)
            #expect(published.status == 201)
        }
        let events = try #require(try await right.api.history(of: flow)).events
        let now = Date().timeIntervalSince1970
        for event in events {
            let text = try #require(event.member("timestamp")?.stringValue)
            let time = try Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(text)
            #expect(abs(time.timeIntervalSince1970 - now) < 30, "\(event)")
        }
    }

    /// Inserts an event that is too old and waits until it is removed.
    private static func waitForPruning(_ server: PostgresServer, _ database: String, _ flow: String) async throws {
        let aged = """
            INSERT INTO flow_events (flow_id, version, type, created_at, payload)
            VALUES ('\(flow)', 1, 'tick', now() - interval '8 days', '{"data":1}')
            """
        _ = try await server.query(aged, in: database)
        try await eventually("the aged event is removed", within: .seconds(30)) {
            try await server.query("SELECT count(*) FROM flow_events WHERE flow_id = '\(flow)'", in: database) == "0"
        }
    }
}
