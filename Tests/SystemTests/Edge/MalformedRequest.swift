import FlowTestKit
import Testing

/// Bytes of a malformed request, and the statuses that are correct for it.
struct MalformedRequest: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: @Sendable () -> [UInt8]
    let statuses: Set<Int>
    var testDescription: String { self.name }

    init(_ name: String, _ text: String, _ statuses: Set<Int> = [400]) {
        self.name = name
        self.bytes = { Array(text.utf8) }
        self.statuses = statuses
    }

    private static let get = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
    private static let post = "POST /v1/flows/malformed/events HTTP/1.1\r\nHost: localhost\r\n"

    /// The request that request smuggling would append.
    static func smuggled(_ flow: String) -> [UInt8] {
        Array("PUT /v1/flows/\(flow)/state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}".utf8)
    }

    private static func header(_ name: String, _ line: String, _ statuses: Set<Int> = [400]) -> Self {
        Self(name, Self.get + line + "\r\n\r\n", statuses)
    }

    private static func framing(_ name: String, _ lines: String, _ statuses: Set<Int> = [400]) -> Self {
        Self(name, Self.post + lines + "\r\n\r\n2\r\n{}\r\n0\r\n\r\n", statuses)
    }

    private static func chunk(_ name: String, _ size: String, _ statuses: Set<Int> = [400]) -> Self {
        Self(name, Self.post + "Transfer-Encoding: chunked\r\n\r\n\(size)\r\n{}\r\n0\r\n\r\n", statuses)
    }

    private static func line(_ name: String, _ line: String, _ statuses: Set<Int> = [400]) -> Self {
        Self(name, line + "\r\nHost: localhost\r\n\r\n", statuses)
    }

    static let headers: [Self] = [
        .header("folded header", "X-A: 1\r\n  two"), .header("folded by a tab", "X-A: 1\r\n\ttwo"),
        .header("bare CR in a value", "X-A: a\rb"), .header("bare LF between headers", "X-A: a\nX-B: b"),
        .header("NUL in a value", "X-A: a\0b"), .header("NUL in a name", "X\0A: a"),
        .header("no colon", "X-A"), .header("empty name", ": a"), .header("blank before the colon", "X-A : a"),
        .header("control byte in a name", "X\u{1}A: a"), .header("two hosts", "Host: other"),
        .header("the same host twice", "Host: localhost"),
        Self("bare CR as line end", Self.get.replacingLineEnds(with: "\r") + "\r"),
        Self("bare LF as line end", Self.get.replacingLineEnds(with: "\n") + "\n"),
        Self("blank before the first header", "GET /health/live HTTP/1.1\r\n Host: localhost\r\n\r\n"),
        Self("no host", "GET /health/live HTTP/1.1\r\n\r\n"),
        Self("an invalid host", "GET /health/live HTTP/1.1\r\nHost: a/b c\r\n\r\n"),
        .header("10,000 headers", (0..<10_000).map { "X-\($0): a" }.joined(separator: "\r\n"), [431]),
        .header("a header of 64 KiB", "X-A: " + String(repeating: "a", count: 65_536), [431]),
        .header("a name of 64 KiB", String(repeating: "X", count: 65_536) + ": a", [400, 431]),
        .header("headers of 2 MB", String(repeating: "X-A: \(String(repeating: "a", count: 993))\r\n", count: 2_000), [431]),
    ]

    static let bodies: [Self] = [
        .framing("equal lengths twice", "Content-Length: 5\r\nContent-Length: 5"),
        .framing("different lengths", "Content-Length: 5\r\nContent-Length: 6"),
        .framing("a list of lengths", "Content-Length: 5, 5"), .framing("a signed length", "Content-Length: +5"),
        .framing("a negative length", "Content-Length: -5"), .framing("a length in hex", "Content-Length: 0x5"),
        .framing("an empty length", "Content-Length: "), .framing("a length with a blank", "Content-Length: 5 5"),
        .framing("a length beyond 64 bits", "Content-Length: 99999999999999999999", [400, 413]),
        .framing("a length of 2^62", "Content-Length: 4611686018427387904", [413]),
        .framing("length and coding", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        .framing("coding and length", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        .framing("chunked, identity", "Transfer-Encoding: chunked, identity"),
        .framing("chunked, chunked", "Transfer-Encoding: chunked, chunked"),
        .framing("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        .framing("chunked and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        .framing("identity", "Transfer-Encoding: identity", [400, 501]),
        .framing("an unknown coding", "Transfer-Encoding: xchunked", [400, 501]),
        .framing("an unsupported coding", "Transfer-Encoding: gzip, chunked", [400, 501]),
        .framing("vertical tab before the coding", "Transfer-Encoding: \u{b}chunked", [400, 501]),
        .chunk("a negative chunk", "-1"), .chunk("a signed chunk", "+2"), .chunk("a chunk in 0x", "0x2"),
        .chunk("an empty chunk size", ""), .chunk("a chunk size with a blank", "2 "), .chunk("a chunk size of letters", "zz"),
        .chunk("a chunk beyond 64 bits", "FFFFFFFFFFFFFFFFF"), .chunk("a bare LF after a chunk size", "2\n"),
        .chunk("a chunk of 2^64 - 1", "ffffffffffffffff", [400, 408, 413]),
        .chunk("a chunk that is longer than its size", "1"),
        Self(
            "endless trailers",
            Self.post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
                + String(repeating: "X-A: aaaaaaaaaa\r\n", count: 60_000),
            [400, 413, 431]),
    ]

    static let lines: [Self] = [
        .line("a CONNECT", "CONNECT hub:80 HTTP/1.1"), .line("an asterisk", "OPTIONS * HTTP/1.1", [400, 404]),
        .line("a GET of an asterisk", "GET * HTTP/1.1"), .line("a target without a slash", "GET health/live HTTP/1.1"),
        .line("a blank in the target", "GET /health live HTTP/1.1"), .line("NUL in the target", "GET /a\0b HTTP/1.1", [400]),
        .line("tabs between the parts", "GET\t/health/live\tHTTP/1.1"), .line("an invalid method", "G@T / HTTP/1.1"),
        .line("version 9.9", "GET /health/live HTTP/9.9", [400, 505]),
        .line("version 2.0", "GET /health/live HTTP/2.0", [400, 505]),
        .line("a version with a tail", "GET /health/live HTTP/1.1x", [400, 505]),
        .line("a version of one digit", "GET / HTTP/1", [400, 505]),
        .line("a target of 1 MB", "GET /" + String(repeating: "a", count: 1_048_576) + " HTTP/1.1", [414]),
        .line("a target of 9 KB", "GET /" + String(repeating: "a", count: 9_000) + " HTTP/1.1", [414]),
        .line("a method of 1 MB", String(repeating: "G", count: 1_048_576) + " / HTTP/1.1", [400, 431, 501]),
        Self("HTTP/0.9", "GET /health/live\r\n\r\n", [400, 505]),
        Self("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 505]),
        Self("empty lines without end", String(repeating: "\r\n", count: 200_000), [400, 431]),
        Self(name: "a TLS hello", statuses: [400]) { [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3] + Self.noise(200, seed: 1) },
        Self(name: "noise", statuses: [400, 431]) { [0xff] + Self.noise(5_000, seed: 2) },
    ]

    init(name: String, statuses: Set<Int>, bytes: @escaping @Sendable () -> [UInt8]) {
        self.name = name
        self.bytes = bytes
        self.statuses = statuses
    }

    private static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
    }
}

extension String {
    fileprivate func replacingLineEnds(with end: String) -> String {
        String(self.unicodeScalars.filter { $0 != "\r" }).split(separator: "\n", omittingEmptySubsequences: false).joined(
            separator: end)
    }
}
