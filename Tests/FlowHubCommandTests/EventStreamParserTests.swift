import Testing

@testable import flowhub

/// The rules of the HTML standard, 9.2.5 and 9.2.6.
@Suite struct EventStreamParserTests {
    private static func items(_ text: String, cursor: String = "") throws -> [EventStreamParser.Item] {
        var parser = EventStreamParser(cursor: cursor)
        return try parser.feed(text.utf8)
    }

    private static func event(_ type: String, _ data: String, id: String = "") -> EventStreamParser.Item {
        .event(ServerEvent(type: type, data: data, id: id))
    }

    @Test(arguments: ["\n", "\r", "\r\n"])
    func acceptsLFCRAndCRLFLineEndings(end: String) throws {
        let text = ["event: tick", "data: a", "data: b", "id: 7", "", "data: c", "", ""].joined(separator: end)
        #expect(try Self.items(text) == [Self.event("tick", "a\nb", id: "7"), Self.event("message", "c", id: "7")])
    }

    @Test("parses chunks of any size, also split between CR and LF or inside a character")
    func parsesChunksOfAnySize() throws {
        let text = "\u{FEFF}id: e-1\r\nevent: größe\r\ndata: {\"ü\":\"🙂\"}\r\n\r\n: comment\rretry: 1500\r\rid: e-2\n\ndata\n\n"
        let bytes = Array(text.utf8)
        let whole = try Self.items(text)
        #expect(
            whole == [
                Self.event("größe", "{\"ü\":\"🙂\"}", id: "e-1"), .retry(1500), .cursor("e-2"),
                Self.event("message", "", id: "e-2"),
            ])
        for size in 1..<bytes.count {
            var parser = EventStreamParser()
            var items: [EventStreamParser.Item] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                items += try parser.feed(bytes[start..<min(start + size, bytes.count)])
            }
            #expect(items == whole, "in chunks of \(size)")
            #expect(parser.cursor == "e-2")
        }
    }

    @Test func skipsOneByteOrderMarkAtStartOnly() throws {
        #expect(try Self.items("\u{FEFF}data: a\n\n") == [Self.event("message", "a")])
        #expect(try Self.items("\u{FEFF}\u{FEFF}data: a\n\n") == [])
        #expect(try Self.items("data: a\n\n\u{FEFF}data: b\n\n") == [Self.event("message", "a")])
    }

    @Test func stripsOneSpaceAfterColon() throws {
        #expect(try Self.items("data:a\n\n") == [Self.event("message", "a")])
        #expect(try Self.items("data:  a \n\n") == [Self.event("message", " a ")])
        #expect(try Self.items("data\n\n") == [Self.event("message", "")])
        #expect(try Self.items("data\ndata\n\n") == [Self.event("message", "\n")])
        #expect(try Self.items("data: a:b\n\n") == [Self.event("message", "a:b")])
    }

    @Test func ignoresCommentsUnknownFieldsAndOtherCase() throws {
        #expect(try Self.items(": hello\nDATA: a\n data: a\nfoo: b\nfoo\n\n") == [])
    }

    @Test func discardsEventWithoutDataAndItsType() throws {
        #expect(try Self.items("event: a\n\ndata: b\n\n") == [Self.event("message", "b")])
    }

    @Test func idPersistsUntilReplacedOrEmptied() throws {
        #expect(
            try Self.items("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n") == [
                Self.event("message", "a", id: "1"), Self.event("message", "b", id: "1"), Self.event("message", "c"),
            ])
    }

    @Test func ignoresIDWithNUL() throws {
        #expect(try Self.items("id: 1\u{0}2\ndata: a\n\n", cursor: "0") == [Self.event("message", "a", id: "0")])
    }

    @Test func blockWithOnlyIDMovesCursorWithoutEvent() throws {
        var parser = EventStreamParser(cursor: "e-4")
        let incomplete = try parser.feed("id: e-9\n".utf8)
        #expect(incomplete == [])
        #expect(parser.cursor == "e-4", "the block is not complete")
        let complete = try parser.feed("\n".utf8)
        #expect(complete == [.cursor("e-9")])
        #expect(parser.cursor == "e-9")
        let repeated = try parser.feed("id: e-9\n\n".utf8)
        #expect(repeated == [], "the cursor did not change")
    }

    @Test func retryAcceptsOnlyDigits() throws {
        #expect(try Self.items("retry: 10\n\nretry: 1x\n\nretry:\n\nretry: -1\n\nretry: ٣\n\n") == [.retry(10)])
        #expect(try Self.items("retry: 99999999999999999999\n\n") == [])
    }

    @Test func dropsIncompleteBlockAtEndOfStream() throws {
        #expect(try Self.items("data: a\n\ndata: b\n") == [Self.event("message", "a")])
        #expect(try Self.items("data: a") == [])
    }

    @Test func replacesInvalidUTF8WithReplacementCharacter() throws {
        var parser = EventStreamParser()
        let bytes = Array("data: ".utf8) + [0xFF] + Array("\n\n".utf8)
        let items = try parser.feed(bytes)
        #expect(items == [Self.event("message", "\u{FFFD}")])
    }

    @Test func rejectsBlockOverLimitInOneOrManyLines() {
        for line in [String(repeating: "x", count: 20), "data: 01\n"] {
            var parser = EventStreamParser(limit: 16)
            #expect(throws: EventStreamParser.TooLarge(limit: 16)) {
                for _ in 0..<10 { _ = try parser.feed(line.utf8) }
            }
        }
    }

    @Test func limitAppliesToEachBlockSeparately() throws {
        var parser = EventStreamParser(limit: 16)
        for _ in 0..<100 {
            let items = try parser.feed("data: 01\n\n".utf8)
            #expect(items.count == 1)
        }
    }
}
