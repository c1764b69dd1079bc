import FlowTestKit

/// Records that compress badly. The same seed yields the same records.
struct ImportSample: Sendable {
    let records: Int
    /// The upload body: NDJSON, each record followed by a line feed.
    let body: [UInt8]
    /// The stored document: a JSON array with one record per line.
    let document: [UInt8]
    /// SHA-256 of the body and of the document.
    let contentHash: String
    let documentHash: String

    /// About 12 MiB compressed: three parts of the minimum size of R2.
    static let large = ImportSample(records: 1_900, bytes: 8_192, seed: 1)
    /// Small enough for one request.
    static let small = ImportSample(records: 300, bytes: 100, seed: 2)

    /// - Parameter bytes: approximate size of a record.
    init(records: Int, bytes: Int, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let letters = (0x23...0x7e).filter { $0 != 0x5c }.map { UInt8($0) }
        var body: [UInt8] = []
        var document = Array("[".utf8)
        for number in 0..<records {
            var record = Array("{\"n\":\(number),\"t\":\"".utf8)
            for _ in 0..<bytes / 8 {
                var bits = random.next()
                for _ in 0..<8 {
                    record.append(letters[(Int(bits & 0xff) * letters.count) >> 8])
                    bits >>= 8
                }
            }
            record += Array("\"}".utf8)
            body += record + [0x0a]
            document += Array((number == 0 ? "\n" : ",\n").utf8) + record
        }
        document += Array("\n]\n".utf8)
        self.records = records
        self.body = body
        self.document = document
        self.contentHash = TestDigest.sha256(body)
        self.documentHash = TestDigest.sha256(document)
    }
}

extension HubProcess {
    /// Uploads a sample and returns the response.
    func uploadImport(
        _ sample: ImportSample, flow: String, key: String? = nil, within timeout: Duration = .seconds(120)
    ) async throws -> HTTPReply {
        try await HTTPCaller(port: self.port).perform(sample.call(flow: flow, key: key), within: timeout)
    }
}

extension ImportSample {
    func call(flow: String, key: String? = nil) -> HTTPCall {
        var headers = [(name: "Content-Type", value: "application/x-ndjson")]
        if let key { headers.append(("Idempotency-Key", key)) }
        return HTTPCall("POST", "/v1/imports?flow_id=\(flow)&file_name=sample.ndjson", headers: headers, body: self.body)
    }
}
