/// An incremental parser for HTTP/1.1 responses. It is independent of the parser that the hub uses, so that the hub is not
/// tested against its own parser.
public struct HTTPReplyParser: Sendable {
    public struct Malformed: Error, CustomStringConvertible {
        public let description: String
    }

    private enum State {
        case head
        case length(Int)
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailers
        /// The body ends when the peer closes the connection.
        case untilClosed
        case done
    }

    private let isAnswerToHead: Bool
    private var state = State.head
    private var buffer: [UInt8] = []
    private var position = 0
    /// The response so far; `nil` before its head is complete.
    public private(set) var reply: HTTPReply?

    public init(isAnswerToHead: Bool = false) { self.isAnswerToHead = isAnswerToHead }

    public var isComplete: Bool { if case .done = self.state { true } else { false } }
    /// Bytes after the response.
    public var rest: ArraySlice<UInt8> { self.buffer[self.position...] }

    /// Removes and returns the bytes of the body that have arrived.
    public mutating func takeBody() -> [UInt8] {
        defer { self.reply?.body = [] }
        return self.reply?.body ?? []
    }

    public mutating func feed(_ bytes: some Sequence<UInt8>) throws {
        self.buffer.append(contentsOf: bytes)
        while try self.step() {}
        if self.position > 65_536 {
            self.buffer.removeFirst(self.position)
            self.position = 0
        }
    }

    /// The peer closed the connection.
    public mutating func end() throws {
        switch self.state {
        case .done: break
        case .untilClosed: self.state = .done
        default: throw Malformed(description: "the connection was closed within a response")
        }
    }

    private mutating func step() throws -> Bool {
        switch self.state {
        case .head: return try self.readHead()
        case .length(let remaining):
            let consumed = self.consume(remaining)
            self.state = consumed == remaining ? .done : .length(remaining - consumed)
            return false
        case .chunkSize:
            guard let line = self.line() else { return false }
            guard let size = Int(line.prefix { $0 != ";" }, radix: 16) else {
                throw Malformed(description: "chunk size: \(line)")
            }
            self.state = size == 0 ? .trailers : .chunk(size)
            return true
        case .chunk(let remaining):
            let consumed = self.consume(remaining)
            self.state = consumed == remaining ? .chunkEnd : .chunk(remaining - consumed)
            return consumed == remaining
        case .chunkEnd:
            guard let line = self.line() else { return false }
            guard line.isEmpty else { throw Malformed(description: "a chunk is longer than its size") }
            self.state = .chunkSize
            return true
        case .trailers:
            guard let line = self.line() else { return false }
            if line.isEmpty { self.state = .done }
            return !line.isEmpty
        case .untilClosed:
            _ = self.consume(.max)
            return false
        case .done: return false
        }
    }

    private mutating func readHead() throws -> Bool {
        let end = Array("\r\n\r\n".utf8)
        guard let length = self.buffer[self.position...].firstRange(of: end)?.upperBound else { return false }
        let text = String(decoding: self.buffer[self.position..<length], as: UTF8.self)
        self.position = length
        let lines = text.split(separator: "\r\n")
        let start = lines.first?.split(separator: " ", maxSplits: 2) ?? []
        guard start.count >= 2, start[0].hasPrefix("HTTP/1."), let status = Int(start[1]) else {
            throw Malformed(description: "status line: \(lines.first ?? "")")
        }
        // Interim responses such as 100 Continue precede the final response.
        if (100..<200).contains(status) { return true }
        var headers: [(name: String, value: String)] = []
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { throw Malformed(description: "header line: \(line)") }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers.append((String(line[..<colon]), String(value)))
        }
        let reply = HTTPReply(status: status, headers: headers)
        self.reply = reply
        if self.isAnswerToHead || status == 204 || status == 304 {
            self.state = .done
        } else if reply.header("transfer-encoding")?.lowercased() == "chunked" {
            self.state = .chunkSize
        } else if let text = reply.header("content-length") {
            guard let length = Int(text), length >= 0 else { throw Malformed(description: "content-length: \(text)") }
            self.state = length == 0 ? .done : .length(length)
        } else {
            self.state = .untilClosed
        }
        return true
    }

    private mutating func line() -> String? {
        guard let end = self.buffer[self.position...].firstRange(of: [0x0d, 0x0a]) else { return nil }
        defer { self.position = end.upperBound }
        return String(decoding: self.buffer[self.position..<end.lowerBound], as: UTF8.self)
    }

    private mutating func consume(_ limit: Int) -> Int {
        let count = min(limit, self.buffer.count - self.position)
        self.reply?.body.append(contentsOf: self.buffer[self.position..<self.position + count])
        self.position += count
        return count
    }
}
