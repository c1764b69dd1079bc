import FlowCore
import NIOCore
import Testing

@testable import FlowHTTP

@Suite struct StreamEncoderTests {
    private static let epoch = Epoch(counter: 7, random: "a")
    private static let flow = FlowID("f").unsafelyUnwrapped
    private static let type = EventType("tick").unsafelyUnwrapped

    private static func encoder(_ query: Substring, flows: [String] = ["f"]) throws -> StreamEncoder {
        let parameters = flows.map { "flow=\($0)" } + (query.isEmpty ? [] : [String(query)])
        return StreamEncoder(
            try StreamRequest(
                path: "/v1/events", query: Substring(parameters.joined(separator: "&")), lastEventID: nil, maximumFlows: 9))
    }

    private static func frame(_ version: Version) -> Frame {
        let event = FlowEvent(version: version, type: Self.type, payload: .emptyObject, createdAt: Timestamp(milliseconds: 0))
        return .durable(event, of: Self.flow, epoch: Self.epoch)
    }

    private static func text(_ block: StreamBlock) -> String { String(buffer: block.payload) }

    private static func data(_ version: Version) -> String {
        "data: {\"type\":\"tick\",\"flow_id\":\"f\",\"version\":\(version),\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\n\n"
    }

    @Test func streamsWithoutFilterAndCombinedCursorShareBlocks() throws {
        #expect(try Self.encoder("").sharedForm == .named)
        #expect(try Self.encoder("event=message").sharedForm == .unnamed)
        #expect(try Self.encoder("types=tick").sharedForm == nil)
        #expect(try Self.encoder("", flows: ["f", "g"]).sharedForm == nil)
    }

    @Test func namedBlockOfOneFrameIsNotCopied() throws {
        let frame = Self.frame(3)
        func address(_ buffer: ByteBuffer) -> UInt { buffer.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) } }
        let blocks = [
            StreamEncoder.block(of: [frame], form: .named), try Self.encoder("").block(of: frame.encoded),
        ]
        for block in blocks { #expect(address(block.payload) == address(frame.encoded.block.payload)) }
    }

    @Test func unnamedBlockHasIDAndDataOnly() throws {
        let encoder = try Self.encoder("event=message")
        #expect(Self.text(encoder.block(of: Self.frame(3).encoded)) == "id: 7.a-3\n" + Self.data(3))
        let run = StreamEncoder.block(of: [Self.frame(3), Self.frame(4)], form: .unnamed)
        #expect(Self.text(run) == "id: 7.a-3\n" + Self.data(3) + "id: 7.a-4\n" + Self.data(4))
        #expect(run.eventCount == 2)
    }

    @Test func cursorReplacesIDOfTheFlow() throws {
        let flows = ["f", "g"].map { FlowID($0).unsafelyUnwrapped }
        let cursor = Cursor.flows(Self.epoch, FlowSetHash(of: flows), [3, nil])
        for (query, type) in [("", "event: tick\n"), ("event=message", "")] {
            var builder = StreamBlock.Builder()
            try Self.encoder(Substring(query), flows: ["f", "g"]).append(Self.frame(3).encoded, cursor: cursor, to: &builder)
            #expect(Self.text(builder.finish()) == "id: 7.a-\(FlowSetHash(of: flows))-3.~\n\(type)" + Self.data(3))
        }
    }

    @Test func retryIsALineOfTheBlock() throws {
        var builder = StreamBlock.Builder()
        try Self.encoder("").append(Self.frame(3).encoded, retryMilliseconds: 20, to: &builder)
        #expect(Self.text(builder.finish()) == "retry: 20\nid: 7.a-3\nevent: tick\n" + Self.data(3))
    }

    /// A block without data would be an empty message to some clients.
    @Test(arguments: ["", "pad=0", "pad=100", "pad=8192"]) func openingHasNoEmptyLine(query: String) throws {
        let encoder = try Self.encoder(Substring(query))
        let text = Self.text(encoder.opening(retryMilliseconds: 20))
        let padding = encoder.padding > 0 ? ":" + String(repeating: " ", count: encoder.padding) + "\n" : ""
        #expect(text == padding + "retry: 20\n")
    }

    @Test(arguments: [
        "event=x", "event=Message", "pad=8193", "pad=-1", "pad=1e3", "pad=99999999999999999999",
    ])
    func rejectsOtherOptions(_ query: Substring) throws {
        let error = #expect(throws: StreamRequest.Malformed.self) { try Self.encoder(query) }
        #expect(error?.code == "bad_parameter")
    }
}
