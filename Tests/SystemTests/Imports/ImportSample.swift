import FlowTestKit

/// Records that pack badly, the same for the same seed.
struct ImportSample: Sendable {
    let records: Int
    /// As it is handed in: NDJSON, each record with a line feed behind it.
    let body: [UInt8]
    /// As it is stored: a JSON array with a record a line.
    let document: [UInt8]
    /// SHA-256 of the body and of the document.
    let contentHash: String
    let documentHash: String

    /// Some 12 MiB packed: three parts of the least size that R2 takes.
    static let large = ImportSample(records: 1_900, bytes: 8_192, seed: 1)
    /// One request's.
    static let small = ImportSample(records: 300, bytes: 100, seed: 2)

    /// - Parameter bytes: of a record, nearly.
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
    /// Hands a sample in, and returns the answer.
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
