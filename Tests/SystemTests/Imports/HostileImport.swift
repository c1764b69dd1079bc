import FlowCore
import FlowTestKit
import Testing

/// An invalid upload body, and the error that the hub must answer with.
struct HostileImport: Sendable {
    struct Position: Hashable, Sendable {
        var line: Int
        var column: Int
    }

    var name: String
    var body: [UInt8]
    var query = ""
    var status = 400
    var code: String
    /// The expected position of the error; `nil` if it is not checked.
    var position: Position?

    /// All invalid bodies, for a hub with `FLOWHUB_MAX_RECORD_BYTES=65536` and `FLOWHUB_MAX_CSV_COLUMNS=50`.
    static func all() async throws -> [HostileImport] {
        var list = HostileList()
        Self.addJSON(to: &list)
        Self.addUTF8(to: &list)
        Self.addTables(to: &list)
        try await Self.addGzip(to: &list)
        return list.all
    }

    private static func addJSON(to list: inout HostileList) {
        list.text("an empty body", "", "empty_import", 1, 1)
        list.text("white space", " \r\n\t ", "empty_import")
        list.text("a byte order mark alone", "\u{feff}", "empty_import")
        list.text("100,000 brackets", String(repeating: "[", count: 100_000), "json_too_deep", 1, 66)
        list.text("100,000 objects", String(repeating: #"{"a":"#, count: 100_000), "json_too_deep")
        list.text("a number of a million digits", "[" + String(repeating: "7", count: 1_000_000) + "]", "bad_number")
        list.text("a number that no double holds", "[\n1,\n1e400]", "bad_number", 3, 1)
        list.text("a lone surrogate", #"["\ud800"]"#, "bad_json")
        list.text("an array without an end", "[1,\n2", "bad_json")
        list.text("a trailing comma", "[1,\n2,]", "bad_json", 2, 3)
        list.text("no comma", "[1 2]", "bad_json", 1, 4)
        list.text("data after the end", "[1]\n{}", "bad_json", 2, 1)
        list.text("a control character in a string", "[\"a\u{1}\"]", "bad_json", 1, 4)
        list.text("NaN", "[NaN]", "bad_json", 1, 2)
        list.text("a leading zero", "[01]", "bad_json")
        list.text("half an object in a line", "{\"a\":1}\n{\"a\":\n", "bad_json")
        list.text("a large record", "[1,\"" + String(repeating: "a", count: 70_000) + "\"]", "record_too_large")
    }

    private static func addUTF8(to list: inout HostileList) {
        list.bytes("not UTF-8", Array("[1,\n\"a".utf8) + [0xff] + Array("\"]".utf8), "bad_utf8", 2, 3)
        list.bytes("overlong UTF-8", Array("[\"".utf8) + [0xc0, 0xaf] + Array("\"]".utf8), "bad_utf8", 1, 3)
        list.bytes("a surrogate encoded in UTF-8", Array("[\"".utf8) + [0xed, 0xa0, 0x80] + Array("\"]".utf8), "bad_utf8")
        list.bytes("UTF-16", [0xff, 0xfe, 0x5b, 0, 0x31, 0, 0x5d, 0], "bad_utf8")
        list.bytes("UTF-16, big-endian", [0xfe, 0xff, 0, 0x5b, 0, 0x31, 0, 0x5d], "bad_utf8")
    }

    private static func addTables(to list: inout HostileList) {
        let row = "a,b\n1,\"" + String(repeating: "a", count: 70_000) + "\"\n"
        list.text("a large row", row, "record_too_large")
        list.text("a quote that is never closed", "a,b\n1,2\n3,\"4\n5,6\n7,8\n", "bad_csv", 3, 3)
        list.bytes("CSV that is not UTF-8", Array("a,b\n1,".utf8) + [0xe9, 0x0a], "bad_utf8", 2, 3)
        list.text("many columns", String(repeating: "a,", count: 60) + "b\n1\n", "too_many_columns")
    }

    private static func addGzip(to list: inout HostileList) async throws {
        let compressed = try await ImportOracle.gzip([Array((ImportOracle.records(3_000).joined(separator: "\n") + "\n").utf8)])
        // Makes the type of the first deflate block invalid.
        var damaged = compressed
        damaged[10] |= 0x06
        var wrongSum = compressed
        wrongSum[compressed.count - 6] ^= 1
        list.bytes("truncated gzip", Array(compressed.dropLast(10)), "bad_gzip")
        list.bytes("gzip truncated within its first block", Array(compressed.prefix(11)), "bad_gzip")
        list.bytes("the magic number of gzip alone", [0x1f, 0x8b], "bad_gzip")
        list.bytes("gzip followed by garbage", compressed + Array("garbage".utf8), "bad_gzip")
        list.bytes("gzip followed by a truncated member", compressed + Array(compressed.prefix(200)), "bad_gzip")
        list.bytes("damaged gzip", damaged, "bad_gzip")
        list.bytes("gzip with a wrong checksum", wrongSum, "bad_gzip")
        list.bytes("gzip of an empty body", try await ImportOracle.gzip([[]]), "empty_import")
        list.bytes("gzip of invalid JSON", try await ImportOracle.gzip([Array("[1,\nx]".utf8)]), "bad_json", 2, 1)
    }
}

struct HostileList {
    private(set) var all: [HostileImport] = []

    mutating func text(_ name: String, _ text: String, _ code: String, _ line: Int? = nil, _ column: Int? = nil) {
        self.bytes(name, Array(text.utf8), code, line, column)
    }

    mutating func bytes(_ name: String, _ body: [UInt8], _ code: String, _ line: Int? = nil, _ column: Int? = nil) {
        var hostile = HostileImport(name: name, body: body, code: code)
        if let line, let column { hostile.position = HostileImport.Position(line: line, column: column) }
        if ["record_too_large", "too_many_columns"].contains(code) { hostile.status = 413 }
        self.all.append(hostile)
    }
}
