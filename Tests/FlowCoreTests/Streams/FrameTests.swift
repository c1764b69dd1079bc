import FlowCore
import NIOCore
import Testing

extension CoreStreams {
    @Suite struct FrameTests {
        private static let event = FlowEvent(
            version: 42, type: Sample.type("a.b:c"), payload: Sample.json(#"{"data":{"x":"\n€"}}"#),
            createdAt: Timestamp(milliseconds: 1_795_460_700_123))

        private static func text(_ event: ControlEvent, _ cursor: Cursor? = nil) -> String {
            String(buffer: event.encoded(cursor: cursor).block.payload)
        }

        private static let data =
            "data: {\"type\":\"a.b:c\",\"flow_id\":\"f\",\"version\":42,\"data\":{\"x\":\"\\n€\"},"
            + "\"timestamp\":\"2026-11-23T19:05:00.123Z\"}\n\n"

        @Test func durableFrameHasIDTypeAndData() {
            let frame = Frame.durable(Self.event, of: Sample.flow, epoch: Sample.epoch)
            let encoded = frame.encoded
            #expect(String(buffer: encoded.block.payload) == "id: 7.a-42\nevent: a.b:c\n" + Self.data)
            #expect(String(buffer: encoded.idLine) == "id: 7.a-42\n")
            #expect(String(buffer: encoded.body) == "event: a.b:c\n" + Self.data)
            #expect(String(buffer: encoded.data) == Self.data)
            #expect(frame.isDurable && frame.version == 42 && frame.type == Self.event.type)
            #expect(frame.createdAt == Self.event.createdAt && frame.size == encoded.block.size)
        }

        @Test func transientFrameHasNoID() {
            let event = TransientEvent(type: Sample.type("tick"), data: Sample.json("[1]"), createdAt: Timestamp(milliseconds: 0))
            let frame = Frame.transient(event, of: Sample.flow)
            #expect(
                String(buffer: frame.encoded.block.payload)
                    == "event: tick\ndata: {\"type\":\"tick\",\"flow_id\":\"f\",\"data\":[1],"
                    + "\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\n\n")
            #expect(frame.encoded.block.payload == frame.encoded.body && frame.encoded.idLine.readableBytes == 0)
            #expect(!frame.isDurable)
        }

        @Test func idLineEncodesPositionsOfSeveralFlows() throws {
            let flows = ["a", "b", "c"].map(Sample.id)
            let cursor = Cursor.flows(Sample.epoch, FlowSetHash(of: flows), [0, nil, 1_295])
            let line = String(buffer: ControlEvent.caughtUp(Sample.flow, 1).encoded(cursor: cursor).idLine)
            #expect(line == "id: 7.a-\(FlowSetHash(of: flows))-0.~.zz\n")
            #expect(Cursor(line.dropFirst(4).dropLast()) == cursor)
        }

        /// A client that does not read the line `event:` finds the type in the data.
        @Test func controlEventsHaveTheirTypeInTheData() {
            var record = Sample.record(3)
            record.state = Sample.json(#"{"a":1}"#)
            let tick = TransientEvent(type: Sample.type("t"), data: .null, createdAt: Timestamp(milliseconds: 0))
            let ticked = #"{"type":"t","flow_id":"f","data":null,"timestamp":"1970-01-01T00:00:00.000Z"}"#
            #expect(
                Self.text(.snapshot(record, last: [tick]), .flow(Sample.epoch, 3))
                    == "id: 7.a-3\nevent: snapshot\ndata: {\"type\":\"snapshot\",\"flow_id\":\"f\",\"version\":3,"
                    + "\"state\":{\"a\":1},\"status\":\"active\",\"last\":{\"t\":\(ticked)}}\n\n")
            #expect(
                Self.text(.resync(Sample.flow, .historyPruned, from: nil, to: 9))
                    == "event: resync\ndata: {\"type\":\"resync\",\"flow_id\":\"f\",\"reason\":\"history_pruned\",\"from\":null,"
                    + "\"to\":9}\n\n")
            #expect(
                Self.text(.caughtUp(Sample.flow, 9), .flow(Sample.epoch, 9))
                    == "id: 7.a-9\nevent: caught_up\ndata: {\"type\":\"caught_up\",\"flow_id\":\"f\",\"version\":9}\n\n")
            #expect(
                Self.text(.heartbeat(at: Timestamp(milliseconds: 0), .storeAway))
                    == "event: heartbeat\ndata: {\"type\":\"heartbeat\",\"time\":\"1970-01-01T00:00:00.000Z\","
                    + "\"delivery\":\"store_away\"}\n\n")
            #expect(
                Self.text(.presence(Sample.flow, count: 2))
                    == "event: presence\ndata: {\"type\":\"presence\",\"flow_id\":\"f\",\"count\":2}\n\n")
        }

        @Test(arguments: [
            (ClosingReason.finished, false), (.deleted, false), (.drain, true), (.full, true), (.unavailable, true),
            (.expired, false), (.revoked, false),
        ])
        func closingEventContainsReasonAndReconnect(_ reason: ClosingReason, _ reconnect: Bool) {
            let start = "event: closing\ndata: {\"type\":\"closing\",\"reason\":\"\(reason.rawValue)\",\"reconnect\":"
            #expect(Self.text(.closing(reason)) == start + "\(reconnect)}\n\n")
            #expect(
                Self.text(.closing(reason, reconnect: !reconnect, flow: Sample.flow))
                    == start + "\(!reconnect),\"flow_id\":\"f\"}\n\n")
        }
    }
}
