import FlowCore

/// Fetches records by their numbers, page by page, and writes them as an array or line by line.
struct RecordPages {
    /// Records that are asked for at once.
    static let pageRecords = 1_000

    let client: HubClient
    let id: ImportID
    let isNDJSON: Bool
    let target: DownloadTarget
    let bar: ProgressBar

    /// The sample that the hub has at hand.
    /// - Returns: how many there are.
    func sample() async throws -> Int {
        let answer = try await self.client.json("/v1/imports/\(self.id)/sample")
        let records = answer.member("records")?.elements ?? []
        try self.write(records, isFirst: true)
        try self.close(isEmpty: records.isEmpty)
        return records.count
    }

    /// - Returns: how many there are, which is fewer than were asked for where the import ends.
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
                    .refused, "The hub sent more records than were asked for. Is --url the address of a FlowHub?")
            }
            try self.write(records, isFirst: done == 0)
            done += records.count
            self.bar.update(done)
            if let total = answer.member("total_records")?.intValue, range.offset + done >= Int(total) { break }
        }
        try self.close(isEmpty: done == 0)
        return done
    }

    private func write(_ records: [JSONText], isFirst: Bool) throws {
        var text: [UInt8] = []
        for (index, record) in records.enumerated() {
            if !self.isNDJSON { text += index == 0 && isFirst ? "[\n".utf8 : ",\n".utf8 }
            text += record.bytes
            if self.isNDJSON { text.append(UInt8(ascii: "\n")) }
        }
        try self.target.write(text)
    }

    private func close(isEmpty: Bool) throws {
        if !self.isNDJSON { try self.target.write(Array((isEmpty ? "[\n]\n" : "\n]\n").utf8)) }
    }
}

/// `OFFSET:LIMIT`
struct RecordRange: Hashable {
    let offset: Int
    let limit: Int

    init(_ text: String) throws(CommandFailure) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let offset = parts[0], let limit = parts[1], offset >= 0, limit > 0,
            !offset.addingReportingOverflow(limit).overflow
        else {
            throw CommandFailure(.usage, "--records takes OFFSET:LIMIT, like 0:100 for the first hundred.")
        }
        self.offset = offset
        self.limit = limit
    }
}
