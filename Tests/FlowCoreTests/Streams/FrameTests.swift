import FlowCore
import NIOCore
import Testing

extension CoreStreams {
    @Suite struct FrameTests {
        private static let event = FlowEvent(
            version: 42, type: Sample.type("a.b:c"), payload: Sample.json(#"{"data":{"x":"\n€"}}"#),
            createdAt: Timestamp(milliseconds: 1_795_460_700_123))

        private static func text(_ body: (inout ByteBuffer) -> Void) -> String {
            var buffer = ByteBuffer()
            body(&buffer)
            return String(buffer: buffer)
        }

        private static let body =
            "event: a.b:c\ndata: {\"type\":\"a.b:c\",\"flow_id\":\"f\",\"version\":42,\"data\":{\"x\":\"\\n€\"},"
            + "\"timestamp\":\"2026-11-23T19:05:00.123Z\"}\n\n"

        @Test func durableFrameHasIDAndBody() {
            let frame = Frame.durable(Self.event, of: Sample.flow, epoch: Sample.epoch)
            #expect(String(buffer: frame.block.payload) == "id: 7.a-42\n" + Self.body)
            #expect(String(buffer: frame.body) == Self.body)
            #expect(frame.isDurable)
            #expect(frame.version == 42)
            #expect(frame.type == Self.event.type)
            #expect(frame.createdAt == Self.event.createdAt)
        }

        @Test func transientFrameHasNoID() {
            let event = TransientEvent(type: Sample.type("tick"), data: Sample.json("[1]"), createdAt: Timestamp(milliseconds: 0))
            let frame = Frame.transient(event, of: Sample.flow)
            #expect(
                String(buffer: frame.block.payload)
                    == "event: tick\ndata: {\"type\":\"tick\",\"flow_id\":\"f\",\"data\":[1],"
                    + "\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\n\n")
            #expect(frame.block.payload == frame.body)
            #expect(!frame.isDurable)
        }

        @Test func idLineEncodesPositionsOfSeveralFlows() throws {
            let flows = ["a", "b", "c"].map(Sample.id)
            let hash = FlowSetHash(of: flows)
            let line = Self.text { $0.writeIDLine(epoch: Sample.epoch, flows: hash, versions: [0, nil, 1_295]) }
            #expect(line == "id: 7.a-\(hash)-0.~.zz\n")
            #expect(Cursor(line.dropFirst(4).dropLast()) == .flows(Sample.epoch, hash, [0, nil, 1_295]))
        }

        @Test func encodesControlEvents() {
            var record = Sample.record(3)
            record.state = Sample.json(#"{"a":1}"#)
            let tick = TransientEvent(type: Sample.type("t"), data: .null, createdAt: Timestamp(milliseconds: 0))
            let ticked = #"{"type":"t","flow_id":"f","data":null,"timestamp":"1970-01-01T00:00:00.000Z"}"#
            #expect(
                Self.text { $0.writeSnapshot(record, last: [tick]) }
                    == "event: snapshot\ndata: {\"flow_id\":\"f\",\"version\":3,\"state\":{\"a\":1},\"status\":\"active\","
                    + "\"last\":{\"t\":\(ticked)}}\n\n")
            #expect(
                Self.text { $0.writeResync(Sample.flow, reason: .historyPruned, from: nil, to: 9) }
                    == "event: resync\ndata: {\"flow_id\":\"f\",\"reason\":\"history_pruned\",\"from\":null,\"to\":9}\n\n")
            #expect(
                Self.text { $0.writeCaughtUp(Sample.flow, version: 9) }
                    == "event: caught_up\ndata: {\"flow_id\":\"f\",\"version\":9}\n\n")
            #expect(
                Self.text { $0.writeHeartbeat(at: Timestamp(milliseconds: 0), delivery: .storeAway) }
                    == "event: heartbeat\ndata: {\"time\":\"1970-01-01T00:00:00.000Z\",\"delivery\":\"store_away\"}\n\n")
            #expect(
                Self.text { $0.writePresence(Sample.flow, count: 2) }
                    == "event: presence\ndata: {\"flow_id\":\"f\",\"count\":2}\n\n")
            #expect(Self.text { $0.writeRetry(milliseconds: 20) } == "retry: 20\n\n")
        }

        @Test(arguments: [
            (ClosingReason.finished, false), (.deleted, false), (.drain, true), (.full, true), (.unavailable, true),
            (.expired, false), (.revoked, false),
        ])
        func closingEventContainsReasonAndReconnect(_ reason: ClosingReason, _ reconnect: Bool) {
            let start = "event: closing\ndata: {\"reason\":\"\(reason.rawValue)\",\"reconnect\":"
            #expect(Self.text { $0.writeClosing(reason) } == start + "\(reconnect)}\n\n")
            #expect(
                Self.text { $0.writeClosing(reason, reconnect: !reconnect, flow: Sample.flow) }
                    == start + "\(!reconnect),\"flow_id\":\"f\"}\n\n")
        }
    }
}
