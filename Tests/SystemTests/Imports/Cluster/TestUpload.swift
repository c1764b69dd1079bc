import FlowCore
import FlowTestKit

/// An upload request.
struct TestUpload: Sendable {
    enum Framing: CaseIterable, Sendable {
        case length, chunked
        /// `Expect: 100-continue`: the body follows after the hub's 100 Continue.
        case expecting
    }

    var query = ""
    var headers: [(name: String, value: String)] = []
    var framing = Framing.length
    var body: [UInt8]

    init(_ body: [UInt8], _ query: String = "", _ headers: [(name: String, value: String)] = [], by framing: Framing = .length) {
        self.body = body
        self.query = query
        self.headers = headers
        self.framing = framing
    }

    init(_ text: String, _ query: String = "", _ headers: [(name: String, value: String)] = []) {
        self.init(Array(text.utf8), query, headers)
    }

    var head: String {
        var head = "POST /v1/imports\(self.query.isEmpty ? "" : "?\(self.query)") HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        for (name, value) in self.headers { head += "\(name): \(value)\r\n" }
        head += self.framing == .chunked ? "Transfer-Encoding: chunked\r\n" : "Content-Length: \(self.body.count)\r\n"
        if self.framing == .expecting { head += "Expect: 100-continue\r\n" }
        return head + "\r\n"
    }

    /// The body in chunked coding. Chunks grow from 1 to 100,000 bytes, independent of record boundaries.
    var chunks: [UInt8] {
        var bytes: [UInt8] = []
        var rest = self.body[...]
        var size = 1
        while !rest.isEmpty {
            let chunk = rest.prefix(size)
            bytes += Array("\(String(chunk.count, radix: 16))\r\n".utf8) + chunk + [0x0d, 0x0a]
            rest = rest.dropFirst(size)
            size = min(size * 3, 100_000)
        }
        return bytes + Array("0\r\n\r\n".utf8)
    }

    static func chunk(_ bytes: some Collection<UInt8>) -> [UInt8] {
        Array("\(String(bytes.count, radix: 16))\r\n".utf8) + bytes + [0x0d, 0x0a]
    }
}

extension HubProcess {
    /// Sends an upload and waits for the response.
    func send(_ upload: TestUpload, within limit: Duration = .seconds(40)) async throws -> HTTPReply {
        let exchange = try await RawExchange.open(port: self.port)
        defer { exchange.close() }
        let head = Array(upload.head.utf8)
        if upload.framing == .expecting {
            try await exchange.send(head)
            try await exchange.waitUntilReceived("HTTP/1.1 100 Continue\r\n\r\n")
        }
        let rest =
            switch upload.framing {
            case .length: head + upload.body
            case .chunked: head + upload.chunks
            case .expecting: upload.body
            }
        async let sent: Void? = try? exchange.send(rest)
        let reply = try await exchange.replies(1, within: limit)[0]
        exchange.close()
        _ = await sent
        return reply
    }

    /// Sends an upload that must be stored.
    /// - Throws: ``HubAPI/UnexpectedReply`` if it is not.
    func store(_ upload: TestUpload, within limit: Duration = .seconds(40)) async throws -> StoredImport {
        let reply = try await self.send(upload, within: limit)
        guard reply.status == 201, let entry = StoredImport(reply.json) else {
            throw HubAPI.UnexpectedReply(reply: reply, what: "an import")
        }
        return entry
    }

    /// `GET /v1/imports/{id}…`
    func get(_ id: String, _ rest: String = "", _ headers: [(name: String, value: String)] = []) async throws -> HTTPReply {
        try await HTTPCaller(port: self.port).perform(HTTPCall("GET", "/v1/imports/\(id)\(rest)", headers: headers))
    }

    /// The texts of up to `limit` records from `offset` on.
    func records(_ id: String, from offset: Int, limit: Int = 100) async throws -> [String] {
        let reply = try await self.get(id, "/records?offset=\(offset)&limit=\(limit)")
        guard reply.status == 200, let records = reply.json.member("records") else {
            throw HubAPI.UnexpectedReply(reply: reply, what: "records of \(id)")
        }
        return records.elements.map(\.string)
    }
}

/// The hub's description of a stored import.
struct StoredImport: Sendable {
    let json: JSONText
    let id: String
    let total: Int
    /// The object key; `nil` if the records are rows.
    let location: String?
    let provider: String
    let metadata: JSONText

    init?(_ json: JSONText) {
        guard json.member("status")?.stringValue == "stored", let id = json.member("id")?.stringValue,
            let total = json.member("total_records")?.intValue, let provider = json.member("storage_provider")?.stringValue,
            let metadata = json.member("storage_metadata")
        else { return nil }
        self.json = json
        self.id = id
        self.total = Int(total)
        self.location = json.member("storage_location")?.stringValue
        self.provider = provider
        self.metadata = metadata
    }

    var contentHash: String { self.metadata.member("content_hash")?.stringValue ?? "" }
    var dataHash: String? { self.metadata.member("data_hash")?.stringValue }
    func number(_ name: String) -> Int? { self.metadata.member(name)?.intValue.map { Int($0) } }
}
