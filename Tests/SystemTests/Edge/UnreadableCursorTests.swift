import FlowCore
import FlowTestKit
import Testing

/// A cursor is untrusted text. The response is a stream for every cursor, because an `EventSource` stops reconnecting after any
/// other response.
@Suite(.hub())
struct UnreadableCursorTests {
    private static func resync(_ target: StreamTarget, _ cursor: String, _ transport: EventStreamClient.CursorTransport)
        async throws
        -> [EventBlock]
    {
        let watcher = EventStreamClient(target, port: try SharedHub.hub.port, name: cursor)
        try await watcher.connect(.text(cursor), by: transport)
        #expect(watcher.log.status == 200)
        _ = try await watcher.next(event: "snapshot")
        return watcher.log.blocks.filter { $0.data != nil || $0.id != nil }
    }

    static let rubbish = [
        "x", "-", "--", "1", "-1", "00", "a.b", "a.b-", "a.b--1", "a.b-+1", "a.b-1.5", "a.b-0x1", "a.b-99999999999999999999",
        ".-1", "a.-1", "toolongepoch1234.x-1",
        "a.b-1-2-3-4", "a.b-short-1", "A.B-1", "a.b-1;drop", "\"a.b-1", "*", "null", "<script>",
        String(repeating: "1", count: 129), String(repeating: "a", count: 5_000),
    ]

    @Test(arguments: rubbish)
    func invalidCursorIsReportedAsBadCursor(_ cursor: String) async throws {
        let escaped = cursor.utf8.map { "%" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        for (text, transport) in [
            (cursor, EventStreamClient.CursorTransport.header), (String(escaped.prefix(3_000 / 3 * 3)), .query),
        ] {
            let blocks = try await Self.resync(.flow("rubbish"), text, transport)
            #expect(blocks.first?.event == "resync", "\(blocks)")
            #expect(blocks.first?.json.member("reason")?.stringValue == "bad_cursor")
            #expect(blocks.first?.json.member("from")?.isNull == true)
            #expect(blocks.map(\.event).prefix(2) == ["resync", "snapshot"])
        }
        let several = try await Self.resync(.flows(["rubbish", "other"]), cursor, .header)
        #expect(several.first { $0.event == "resync" }?.json.member("reason")?.stringValue == "bad_cursor")
    }

    @Test(arguments: ["%00", "%0d%0a%0d%0a", "%ff", "%", "%zz", "%F0%9F%98%80", "%e2%80%a8"])
    func cursorWithInvalidBytesIsReportedAsBadCursor(_ cursor: String) async throws {
        let blocks = try await Self.resync(.flow("rubbish"), cursor, .query)
        #expect(blocks.first?.json.member("reason")?.stringValue == "bad_cursor", "\(blocks)")
    }

    @Test func nonASCIIHeaderCursorIsReportedAsBadCursor() async throws {
        let exchange = try await RawExchange.open(port: try SharedHub.hub.port)
        defer { exchange.close() }
        let head = Array("GET /v1/flows/rubbish/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: ".utf8)
        try await exchange.send(head + [0xff, 0xfe, 0xe2, 0x80, 0xa8] + Array("\r\n\r\n".utf8))
        try await eventually("the resync") { exchange.receivedText.contains("\"reason\":\"bad_cursor\"") }
        #expect(exchange.receivedText.hasPrefix("HTTP/1.1 200 "))
    }

    @Test func headerCursorTakesPrecedenceOverParameter() async throws {
        let hub = try SharedHub.hub
        let tag = try #require(try await hub.api.put("wins", .emptyObject).reply.header("etag")).filter { $0 != "\"" }
        let exchange = try await RawExchange.open(port: hub.port)
        defer { exchange.close() }
        try await exchange.send(
            "GET /v1/flows/wins/events?last_event_id=rubbish HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \(tag)\r\n\r\n")
        try await eventually("the end of the replay") { exchange.receivedText.contains("event: caught_up") }
        #expect(!exchange.receivedText.contains("event: resync"))
    }

    @Test func resyncsCursorOfOtherFlowsFutureOrOtherEpoch() async throws {
        let hub = try SharedHub.hub
        let tag = try #require(try await hub.api.put("known", .emptyObject).reply.header("etag")).filter { $0 != "\"" }
        let epoch = tag.prefix { $0 != "-" }
        let both = EventStreamClient(.flows(["known", "known-2"]), port: hub.port)
        try await both.connect()
        for _ in 0..<2 { _ = try await both.next(event: "snapshot") }

        for (target, cursor, reason, from) in [
            (StreamTarget.flow("known"), both.lastEventID, "other_flows", nil),
            (.flows(["known", "known-3"]), both.lastEventID, "other_flows", nil),
            (.flows(["known", "known-2"]), tag, "other_flows", nil),
            (.flow("known"), "\(epoch)-6", "cursor_ahead", Version(6)),
            (.flow("known"), "\(epoch)-9223372036854775807", "cursor_ahead", .max),
            (.flow("known"), "1.a-1", "epoch", nil),
            (.flow("known"), "zzzzzzzz.a-1", "epoch", nil),
        ] {
            let blocks = try await Self.resync(target, cursor, .header)
            let resync = try #require(blocks.first { $0.event == "resync" }, "\(cursor): \(blocks)")
            #expect(resync.json.member("reason")?.stringValue == reason, "\(cursor)")
            if let from {
                #expect(resync.json.member("from")?.intValue == from)
                #expect(resync.version == nil && resync.json.member("to")?.intValue == 1)
            }
            let snapshot = try #require(blocks.first { $0.event == "snapshot" })
            #expect(snapshot.id != nil && resync.id == nil)
        }
    }
}
