import FlowCore
import FlowTestKit
import Testing

/// Transient events for a subscriber that falls behind.
struct TransientTests {
    @Test func slowSubscriberGetsNoTransientEventTwice() async throws {
        try await HubProcess.running(["FLOWHUB_EVENT_LOOPS": "1"]) { hub in
            let api = hub.api
            #expect(try await api.publish("first", .null, to: "t").status == 201)
            let slow = EventStreamClient(.flow("t"), port: hub.port, name: "slow", options: .init(isNarrow: true))
            try await slow.connect()
            _ = try await slow.next(event: "caught_up")
            try await slow.stopReading()
            let filler = String(repeating: "x", count: 2_000)
            var batch = 0
            try await eventually("falling behind", within: .seconds(60)) {
                batch += 1
                let events =
                    [("tick", try jsonText("\(batch)"))]
                    + (try (0..<100).map { ("bulk", try jsonText("\"\(batch) \($0) \(filler)\"")) })
                #expect(try await api.publish(events, to: "t", durable: false).status == 202)
                return try await api.metric("flowhub_slow_readers_total") ?? 0 > 0
            }
            try await slow.read()
            let last = try jsonText("\(batch)")
            try await slow.waitUntil("the last tick") { $0.events("tick").contains { $0.json.member("data") == last } ? () : nil }
            #expect(try await api.publish("end", .null, to: "t").status == 201)
            _ = try await slow.next(event: "end")
            for type in ["tick", "bulk"] {
                let received = slow.log.events(type).compactMap { $0.json.member("data")?.string.prefix(20) }
                #expect(Set(received).count == received.count, "\(type): \(received.suffix(5))")
            }
        }
    }
}
