import FlowCore
import FlowTestKit
import Testing

/// A client over a limit of streams gets a stream with `closing` and `retry:`, not an error, so that it reconnects.
struct StreamLimitTests {
    private static func isFull(_ stream: EventStreamClient) async throws -> Bool {
        try await stream.waitUntilEnded()
        let log = stream.log
        #expect(log.status == 200)
        #expect(log.connections.last?.header("content-type") == "text/event-stream; charset=utf-8")
        #expect(log.newest.contains { $0.retry != nil })
        #expect(log.newest.last?.json.string == #"{"type":"closing","reason":"full","reconnect":true}"#)
        return log.newest.last?.event == "closing"
    }

    @Test func limitsTotalStreams() async throws {
        try await HubProcess.running(["FLOWHUB_MAX_CONNECTIONS": "3"]) { hub in
            let streams = (0..<3).map { EventStreamClient(.flow("f\($0)"), port: hub.port, name: "stream \($0)") }
            for stream in streams {
                try await stream.connect()
                _ = try await stream.next(event: "snapshot")
            }
            let fourth = EventStreamClient(.flow("f0"), port: hub.port, name: "fourth")
            try await fourth.connect()
            #expect(try await Self.isFull(fourth))
            let feed = EventStreamClient(.feed, port: hub.port, name: "feed")
            try await feed.connect()
            #expect(try await Self.isFull(feed))
            #expect(try await hub.api.metric("flowhub_refusals_total{reason=\"full\"}") == 2)
            #expect(try await hub.call("GET", "/v1/flows").status == 200, "ordinary requests must still be answered")
            streams[0].disconnect()
            try await eventually("the closed stream to be uncounted") { try await hub.api.metric("flowhub_connections") == 2 }
            try await fourth.connect()
            _ = try await fourth.next(event: "snapshot")
            #expect(streams[1].isConnected && streams[2].isConnected)
        }
    }

    @Test func limitsStreamsPerSubject() async throws {
        let environment = ["FLOWHUB_MAX_CONNECTIONS_PER_SUBJECT": "2", "FLOWHUB_JWT_KEY": TestToken.key]
        try await HubProcess.running(environment) { hub in
            func stream(_ subject: String, _ account: String) async throws -> EventStreamClient {
                let token = TestToken(subject: subject, account: account).text
                let stream = EventStreamClient(
                    .flow("f").with { $0.headers = [("Authorization", "Bearer \(token)")] }, port: hub.port,
                    name: "\(subject)@\(account)")
                try await stream.connect()
                return stream
            }
            let first = try await stream("anna", "7")
            let second = try await stream("anna", "7")
            for kept in [first, second] { _ = try await kept.next(event: "snapshot") }
            #expect(try await Self.isFull(stream("anna", "7")))
            for other in [try await stream("ben", "7"), try await stream("anna", "8")] {
                _ = try await other.next(event: "snapshot")
            }
            first.disconnect()
            try await eventually("anna's closed stream to be uncounted") {
                let reconnected = try await stream("anna", "7")
                try await reconnected.waitUntil("an answer") { $0.blocks.contains { $0.data != nil } ? () : nil }
                return reconnected.log.events("snapshot").count == 1
            }
        }
    }

    @Test func limitsQueuedBytesPerSubscriberWithoutLoss() async throws {
        try await HubProcess.running(["FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER": "16384"]) { hub in
            let slow = EventStreamClient(.flow("slow"), port: hub.port, name: "slow", options: .init(isNarrow: true))
            let quick = EventStreamClient(.flow("slow"), port: hub.port, name: "quick")
            for stream in [slow, quick] {
                try await stream.connect()
                _ = try await stream.next(event: "snapshot")
            }
            try await slow.stopReading()
            let data = try jsonText("\"\(String(repeating: "a", count: 8_000))\"")
            var highest = 0.0
            for _ in 0..<50 {
                #expect(try await hub.api.publish("row", data, to: "slow").status == 201)
                highest = max(highest, try #require(try await hub.api.metric("flowhub_queued_bytes")))
            }
            _ = try await quick.next("the last row") { $0.version == 50 }
            #expect(try #require(try await hub.api.metric("flowhub_slow_readers_total")) >= 1)
            #expect(highest > 0, "nothing was queued, so the test proves nothing")
            // The limit, plus the event or page that exceeded it.
            #expect(highest <= 16_384 + 16_384 + 9_000, "\(highest)")
            try await slow.read()
            _ = try await slow.next("the last row", within: .seconds(40)) { $0.version == 50 }
            #expect(slow.log.events("row").compactMap(\.version) == Array(1...50))
            #expect(slow.log.events("resync").isEmpty && slow.log.connections.count == 1)
        }
    }

    @Test func shedsSlowSubscribersOverTotalQueuedBytes() async throws {
        let environment = ["FLOWHUB_MAX_QUEUED_BYTES": "65536", "FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER": "131072"]
        try await HubProcess.running(environment) { hub in
            let slow = (0..<4).map {
                EventStreamClient(.flow("crowd"), port: hub.port, name: "slow \($0)", options: .init(isNarrow: true))
            }
            let quick = EventStreamClient(.flow("crowd"), port: hub.port, name: "quick")
            for stream in slow + [quick] {
                try await stream.connect()
                _ = try await stream.next(event: "snapshot")
            }
            for stream in slow { try await stream.stopReading() }
            let data = try jsonText("\"\(String(repeating: "a", count: 60_000))\"")
            for _ in 0..<10 { #expect(try await hub.api.publish("row", data, to: "crowd").status == 201) }
            _ = try await quick.next("the last row", within: .seconds(40)) { $0.version == 10 }
            #expect(quick.log.events("row").compactMap(\.version) == Array(1...10), "a fast subscriber lost events")
            #expect(try #require(try await hub.api.metric("flowhub_closings_total{reason=\"full\"}")) >= 1)
            #expect(try #require(try await hub.api.metric("flowhub_queued_bytes")) < 65_536)
            for stream in slow {
                stream.disconnect()
                let reconnected = EventStreamClient(.flow("crowd"), port: hub.port, name: "\(stream.name) again")
                try await reconnected.connect(.text(stream.lastEventID))
                _ = try await reconnected.next("the last row", within: .seconds(40)) { $0.version == 10 }
                #expect((stream.log.events("row") + reconnected.log.events("row")).compactMap(\.version) == Array(1...10))
                #expect(reconnected.log.events("resync").isEmpty)
            }
            let newSubscriber = EventStreamClient(.flow("crowd"), port: hub.port, name: "new subscriber")
            try await newSubscriber.connect()
            #expect(try await newSubscriber.next(event: "snapshot").version == 10)
        }
    }

    @Test func shedsLargestSubscriberOnAnyEventLoop() async throws {
        let environment = [
            "FLOWHUB_MAX_QUEUED_BYTES": "345000", "FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER": "131072",
            "FLOWHUB_EVENT_LOOPS": "2",
        ]
        try await HubProcess.running(environment) { hub in
            // Connections are assigned to the two loops alternately: this one to the first, those that do not read to the
            // second.
            let api = hub.api
            #expect(try await api.isReady())
            func deaf(_ flow: String) async throws -> EventStreamClient {
                let stream = EventStreamClient(.flow(flow), port: hub.port, name: flow, options: .init(isNarrow: true))
                try await stream.connect()
                _ = try await stream.next(event: "snapshot")
                try await stream.stopReading()
                return stream
            }
            func count(_ flow: String) async throws -> Int64? {
                try await api.call("GET", "/v1/flows/\(flow)/connections").json.member("count")?.intValue
            }
            let first = try await deaf("large")
            let between = try await RawExchange.open(port: hub.port)
            let second = try await deaf("large")
            let small = try await deaf("small")
            defer { for stream in [first, second, small] { stream.disconnect() } }
            between.close()
            let row = try jsonText("\"\(String(repeating: "a", count: 8_000))\"")
            try await eventually("both large streams to fall behind", within: .seconds(30), every: .milliseconds(20)) {
                #expect(try await api.publish("row", row, to: "large").status == 201)
                return try await api.metric("flowhub_slow_readers_total") ?? 0 >= 2
            }
            try #require(try await count("large") == 2)
            // At intervals, because queued bytes of a writable stream are only measured once a second, and this stream must
            // have fewer than the large ones.
            try await eventually("too much", within: .seconds(30), every: .milliseconds(200)) {
                #expect(try await api.publish("row", row, to: "small").status == 201)
                return try await api.metric("flowhub_closings_total{reason=\"full\"}") ?? 0 >= 1
            }
            let remaining = (large: try await count("large"), small: try await count("small"))
            #expect(remaining == (1, 1))
        }
    }
}
