import FlowTestKit

/// An upload of which the first 90 % were sent and that is being stored.
struct HalfUpload: Sendable {
    let exchange: RawExchange
    private let rest: [UInt8]

    /// Sends 90 % of the body, and returns when the store has some of it.
    static func begin(
        _ sample: ImportSample, flow: String, key: String, at hub: HubProcess, _ fixture: ImportHubFixture
    ) async throws -> HalfUpload {
        let exchange = try await RawExchange.open(port: hub.port)
        let head = """
            POST /v1/imports?flow_id=\(flow) HTTP/1.1\r
            Host: 127.0.0.1\r
            Content-Type: application/x-ndjson\r
            Idempotency-Key: \(key)\r
            Content-Length: \(sample.body.count)\r\n\r\n
            """
        // The hub uploads a part only after it has more bytes than one part, and the last pages are still being compressed.
        let half = sample.body.count * 9 / 10
        try await exchange.send(Array(head.utf8) + sample.body[..<half])
        try await eventually("some of the upload to be in the store", within: .seconds(60), every: .milliseconds(50)) {
            guard let entry = try await fixture.ledger().first(where: { $0.flow == flow && $0.status == "pending" }) else {
                return false
            }
            switch fixture.kind {
            case .rows: return entry.rows > 0
            case .r2, .embedded: return try await !fixture.uploads().isEmpty
            }
        }
        return HalfUpload(exchange: exchange, rest: Array(sample.body[half...]))
    }

    /// Sends the rest of the body, as far as the hub accepts it.
    /// - Returns: the response; `nil` if the connection ended without one.
    func finish() async throws -> HTTPReply? {
        async let sent: Void? = try? self.exchange.send(self.rest)
        let reply = try? await self.exchange.replies(1, within: .seconds(60)).first
        self.exchange.close()
        _ = await sent
        return reply
    }
}
