import FlowCore
import FlowTestKit
import Testing

/// Texts of a publisher reach subscribers as data only: they cannot inject lines or events into a stream.
@Suite(.hub(["FLOWHUB_HEARTBEAT_SECONDS": "300"]))
struct InjectionTests {
    /// JSON strings without their quotes, as they appear in a request.
    static let texts = [
        #"a\rb"#, #"a\nb"#, #"a\r\nb"#, #"a\u000ab"#, #"a\u000Db"#, #"a\u2028b\u2029c"#, "a\u{2028}b\u{2029}c", #"a\u0000b"#,
        #"\uFEFFa"#, "\u{feff}a", #"a\u0085b"#, "a\u{85}b", "\u{7f}",
        #"data: {}\n\nevent: closing\ndata: {\"reason\":\"finished\",\"reconnect\":false}\n\n"#,
        #"\r\rid: 1.a-999\r\revent: snapshot\rdata: {}\r\r"#, "data: x", ": comment", #"\n\n"#, #"\\n\\n"#, #"\ud83d\ude00"#, "😀",
        #"\/"#,
        #"\u003cscript\u003e</script>"#, #"\b\f\t"#,
    ]

    /// The text as streams have it: with escapes for the characters that some readers take for line ends.
    private static func sent(_ text: String) -> String {
        text.replacing("\u{85}", with: #"\u0085"#).replacing("\u{2028}", with: #"\u2028"#)
            .replacing("\u{2029}", with: #"\u2029"#)
    }

    /// Every received event except heartbeats.
    private static func events(_ log: StreamLog) -> [EventBlock] {
        log.blocks.filter { $0.data != nil && $0.event != "heartbeat" }
    }

    @Test func eventDataIsUnchangedLiveReplayedAndInHistory() async throws {
        let hub = try SharedHub.hub
        let live = EventStreamClient(.flow("data"), port: hub.port, name: "live")
        try await live.connect()
        _ = try await live.next(event: "snapshot")
        let written = Self.texts.map { "{\"\($0)\":[\"\($0)\",{\"x\":\"\($0)\"}]}" }
        for (index, data) in written.enumerated() {
            let reply = try await hub.api.publish("note", jsonText(data), to: "data")
            #expect(reply.status == 201)
            #expect(reply.version == Version(index + 1))
        }
        #expect(try await hub.api.publish("last", .null, to: "data").status == 201)
        _ = try await live.next(event: "last")
        let replay = EventStreamClient(.flow("data"), port: hub.port, name: "replay")
        try await replay.connect(.text("0"), by: .query)
        _ = try await replay.next(event: "caught_up")

        for (log, first) in [(live.log, ["snapshot"]), (replay.log, [])] {
            let events = Self.events(log).filter { $0.event != "caught_up" }
            #expect(events.map(\.event) == first + written.map { _ in "note" } + ["last"])
            #expect(events.dropFirst(first.count).dropLast().map { $0.json.member("data")?.string } == written.map(Self.sent))
            #expect(log.connections[0].comments == 0)
        }
        let history = try #require(try await hub.api.history(of: "data"))
        #expect(history.events.dropLast().map { $0.member("data")?.string } == written)
        // The order of the members is also the same: history has the same text as the stream.
        let replayed = Self.events(replay.log).filter { $0.event != "caught_up" }
        #expect(history.events.map { Self.sent($0.string) } == replayed.compactMap(\.data))
    }

    @Test func transientDataIsUnchanged() async throws {
        let hub = try SharedHub.hub
        let watcher = EventStreamClient(.flow("transient"), port: hub.port)
        try await watcher.connect()
        _ = try await watcher.next(event: "snapshot")
        for text in Self.texts {
            #expect(try await hub.api.publish("tick", jsonText("\"\(text)\""), to: "transient", durable: false).status == 202)
            let block = try await watcher.next(event: "tick")
            #expect(block.json.member("data")?.string == Self.sent("\"\(text)\""))
            #expect(block.id == nil)
        }
        #expect(Self.events(watcher.log).allSatisfy { ["snapshot", "caught_up", "tick"].contains($0.event) })
    }

    @Test func stateIsUnchangedInUpdatesAndSnapshots() async throws {
        let hub = try SharedHub.hub
        let watcher = EventStreamClient(.flow("state"), port: hub.port)
        try await watcher.connect()
        _ = try await watcher.next(event: "snapshot")
        for (index, text) in Self.texts.enumerated() {
            // The index makes each patch change the state: some texts are the same string with different escapes.
            let patch = "{\"\(text)\":[\"\(text)\",\(index)]}"
            #expect(try await hub.api.patch("state", jsonText(patch)).status < 300)
            let block = try await watcher.next(event: "state_update")
            #expect(block.json.member("updates")?.string == Self.sent(patch))
        }
        let state = "{" + Self.texts.enumerated().map { "\"\($0)\":\"\($1)\"" }.joined(separator: ",") + "}"
        #expect(try await hub.api.put("state", jsonText(state)).status == 200)
        #expect(try await hub.api.state(of: "state")?.state.string == state)
        let newSubscriber = EventStreamClient(.flow("state"), port: hub.port, name: "new subscriber")
        try await newSubscriber.connect()
        #expect(try await newSubscriber.next(event: "snapshot").json.member("state")?.string == Self.sent(state))
        #expect(Self.events(newSubscriber.log).count(where: { $0.event != "caught_up" }) == 1)
    }

    @Test(
        arguments: texts.filter { $0 != "a" } + [
            "", "a b", "a/b", "{tag}", "*", "é", String(repeating: "a", count: 65), ".", "..", #"\u0020a"#, "a;b", "a,b",
        ])
    func rejectsInvalidEventTypes(_ text: String) async throws {
        for durable in ["true", "false"] {
            let reply = try await SharedHub.hub.call(
                "POST", "/v1/flows/types/events", body: "{\"type\":\"\(text)\",\"data\":1,\"durable\":\(durable)}")
            #expect(reply.status == 422)
            #expect(reply.problemCode == "bad_event_type")
        }
    }

    @Test(
        arguments: [
            "snapshot", "resync", "caught_up", "heartbeat", "closing", "presence", "state_update", "flow_deleted", "flow",
            "flows",
            "error", "open", "message", "import_progress", "import_stored", "import_failed",
        ])
    func rejectsReservedEventTypes(_ type: String) async throws {
        let hub = try SharedHub.hub
        let escaped = "\\u00" + String(type.utf8.first ?? 0, radix: 16) + type.dropFirst()
        let flow = "reserved-" + type
        for name in [type, escaped] {
            for event in [
                "{\"type\":\"\(name)\"}", "{\"type\":\"\(name)\",\"durable\":false}", "{\"type\":\"a\",\"type\":\"\(name)\"}",
            ] {
                for (media, body) in [
                    ("application/json", event), ("application/json", "[{\"type\":\"a\"},\(event)]"),
                    ("application/x-ndjson", event),
                ] {
                    let reply = try await hub.call(
                        "POST", "/v1/flows/\(flow)/events", headers: [("Content-Type", media)], body: body)
                    #expect(reply.status == 422, "\(body): \(reply.text)")
                    #expect(["reserved_type", "bad_event"].contains(reply.problemCode ?? ""))
                }
            }
        }
        #expect(try await hub.api.history(of: flow) == nil, "a batch is all or nothing")
    }
}
