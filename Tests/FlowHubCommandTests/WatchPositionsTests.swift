import FlowCore
import Testing

@testable import flowhub

/// The cursors of a watcher of several flows, and how they become the one cursor that `--from` takes.
@Suite struct WatchPositionsTests {
    private static func flows(_ names: String...) throws -> [FlowID] { try names.map { try #require(FlowID($0)) } }

    @Test func positionsOfSeveralFlowsRoundTrip() throws {
        let flows = try Self.flows("c", "a", "b")
        var positions = try #require(WatchPositions(flows, cursor: ""))
        #expect("\(positions)" == "" && positions.single == "")
        positions.move(flows[0], to: "7.a-40")
        positions.move(flows[1], to: "7.a-2")
        let text = "\(positions)"
        #expect(text == "7.a-\(FlowSetHash(of: flows.sorted()))-2.~.14")
        // In another order of the command line.
        let again = try #require(WatchPositions(flows.reversed(), cursor: text))
        #expect(again.cursors == positions.cursors)
        #expect(WatchPositions(try Self.flows("c", "a", "x"), cursor: text) == nil, "the cursor of other flows")
        #expect(WatchPositions(flows, cursor: "7.a-40") == nil, "the cursor of one flow")
    }

    @Test func flowOfOlderEpochCountsAsNotSent() throws {
        let flows = try Self.flows("a", "b")
        var positions = try #require(WatchPositions(flows, cursor: ""))
        positions.move(flows[0], to: "7.a-40")
        positions.move(flows[1], to: "8.a-1")
        #expect("\(positions)" == "8.a-\(FlowSetHash(of: flows))-~.1")
    }

    @Test func thousandFlowsHaveOneCursor() throws {
        let flows = try (0..<1_000).map { try #require(FlowID("flow-\($0)")) }
        var positions = try #require(WatchPositions(flows, cursor: ""))
        for (number, flow) in flows.enumerated() { positions.move(flow, to: "7.a-\(number)") }
        #expect(WatchPositions(flows, cursor: "\(positions)")?.cursors == positions.cursors)
    }

    @Test func startMeansTheStartOfEachFlow() throws {
        let flows = try Self.flows("a", "b")
        #expect(WatchPositions(flows, cursor: "0")?.cursors == [flows[0]: "0", flows[1]: "0"])
        #expect(WatchPositions([flows[0]], cursor: "anything")?.single == "anything")
    }

    /// The parser of a stream of several flows: an event without an id has none, because the block before may be of another flow.
    @Test func eventWithoutIDInheritsNone() throws {
        var parser = EventStreamParser(inheritsID: false)
        let items = try parser.feed("id: 7.a-1\ndata: 1\n\ndata: 2\n\nid: 7.a-2\ndata: 3\n\n".utf8)
        let expected = [("1", "7.a-1"), ("2", ""), ("3", "7.a-2")].map { data, id in
            EventStreamParser.Item.event(ServerEvent(type: "message", data: data, id: id))
        }
        #expect(items == expected)
    }
}
