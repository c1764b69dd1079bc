import FlowCore

/// Downloads a range of records page by page, or the sample, and writes them as an array or as NDJSON.
struct RecordPages {
    /// Maximum number of records per request.
    static let pageRecords = 1_000

    let client: HubClient
    let id: ImportID
    let isNDJSON: Bool
    let target: DownloadTarget
    let bar: ProgressBar

    /// Downloads the sample.
    /// - Returns: the number of records.
    func sample() async throws -> Int {
        let answer = try await self.client.json("/v1/imports/\(self.id)/sample")
        let records = answer.member("records")?.elements ?? []
        try self.write(records, isFirst: true)
        try self.close(isEmpty: records.isEmpty)
        return records.count
    }

    /// Downloads a range of records.
    /// - Returns: the number of records; fewer than requested at the end of the import.
    func records(_ range: RecordRange) async throws -> Int {
        var done = 0
        while done < range.limit {
            let wanted = min(range.limit - done, Self.pageRecords)
            let target = "/v1/imports/\(self.id)/records?offset=\(range.offset + done)&limit=\(wanted)"
            let answer = try await self.client.json(target)
            let records = answer.member("records")?.elements ?? []
            guard !records.isEmpty else { break }
            guard records.count <= wanted else {
                throw CommandFailure(
                    .rejected,
                    "The response has \(records.count) records, but \(wanted) were requested. Check that --url is the hub's.")
            }
            try self.write(records, isFirst: done == 0)
            done += records.count
            self.bar.update(done)
            if let total = answer.member("total_records")?.intValue, range.offset + done >= Int(total) { break }
        }
        try self.close(isEmpty: done == 0)
        return done
    }

    /// Writes the records of one response. `isFirst`: whether they are the first of the output, where the array begins.
    private func write(_ records: [JSONText], isFirst: Bool) throws {
        var text: [UInt8] = []
        for (index, record) in records.enumerated() {
            if !self.isNDJSON { text += index == 0 && isFirst ? "[\n".utf8 : ",\n".utf8 }
            text += record.bytes
            if self.isNDJSON { text.append(UInt8(ascii: "\n")) }
        }
        try self.target.write(text)
    }

    /// Writes the end of the array; nothing for NDJSON. `isEmpty`: whether no record was written.
    private func close(isEmpty: Bool) throws {
        if !self.isNDJSON { try self.target.write(Array((isEmpty ? "[\n]\n" : "\n]\n").utf8)) }
    }
}

/// A range of records, parsed from `OFFSET:LIMIT`.
struct RecordRange: Hashable {
    let offset: Int
    let limit: Int

    /// Parses the value of `--records`.
    /// - Throws: ``CommandFailure`` of kind `usage` if it is invalid.
    init(_ text: String) throws(CommandFailure) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let offset = parts[0], let limit = parts[1], offset >= 0, limit > 0,
            !offset.addingReportingOverflow(limit).overflow
        else {
            throw CommandFailure(.usage, "--records must be OFFSET:LIMIT, such as 0:100 for the first 100 records.")
        }
        self.offset = offset
        self.limit = limit
    }
}
