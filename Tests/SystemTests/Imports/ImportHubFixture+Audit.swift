import FlowCore
import FlowTestKit
import Testing

extension ImportHubFixture {
    /// A row of the ledger.
    struct Entry: Hashable, Sendable {
        var id: String
        var status: String
        var location: String
        var flow: String
        var key: String
        var records: Int
        var size: Int
        var dataHash: String
        var contentHash: String
        var isAnnounced: Bool
        /// Number of the import's record rows in the database.
        var rows: Int
    }

    /// All rows of the ledger.
    func ledger() async throws -> [Entry] {
        let rows =
            self.kind == .embedded
            ? "(SELECT count(*) FROM raw_import_records WHERE place >> 32 = i.span)"
            : "(SELECT count(*) FROM raw_import_records WHERE data_import_id = i.id)"
        let lines = try await self.query(
            """
            SELECT i.id, i.status, coalesce(i.storage_location, ''), coalesce(i.flow_id, ''), coalesce(i.idempotency_key, ''),
                coalesce(i.total_records, -1), coalesce(i.storage_metadata ->> 'size_bytes', '-1'),
                coalesce(i.storage_metadata ->> 'data_hash', ''), coalesce(i.storage_metadata ->> 'content_hash', ''),
                CASE WHEN i.announced_at IS NULL THEN 'no' ELSE 'yes' END, \(rows)
            FROM data_imports i ORDER BY i.created_at, i.id
            """)
        return try lines.map { line in
            let columns = line.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
            try #require(columns.count == 11, "\(line)")
            return Entry(
                id: columns[0], status: columns[1], location: columns[2], flow: columns[3], key: columns[4],
                records: Int(columns[5]) ?? -1, size: Int(columns[6]) ?? -1, dataHash: columns[7], contentHash: columns[8],
                isAnnounced: columns[9] == "yes", rows: Int(columns[10]) ?? -1)
        }
    }

    /// Waits until every import is stored or failed, and its event was published.
    func settle(within timeout: Duration = .seconds(40)) async throws {
        try await eventually("the end of every import", within: timeout, every: .milliseconds(100)) {
            try await self.query(
                "SELECT id FROM data_imports WHERE status IN ('pending', 'deleting') OR announced_at IS NULL"
            ).isEmpty
        }
    }

    /// Expects that ``problems(_:)`` finds nothing.
    func expectConsistent(
        _ samples: [String: ImportSample] = [:], _ comment: Comment? = nil, at location: SourceLocation = #_sourceLocation
    ) async throws {
        let problems = try await self.problems(samples)
        #expect(problems == [], comment, sourceLocation: location)
    }

    /// Expects that a sweep would remove nothing and misses no object.
    func expectNothingToSweep(at location: SourceLocation = #_sourceLocation) async throws {
        let report = try await self.sweepReport()
        #expect(
            report.contains(" 0 objects and 0 uploads would be removed, 0 objects missing"), "\(report)", sourceLocation: location
        )
    }

    /// Compares the ledger, the stores and the events of the flows.
    /// - Parameter samples: the uploaded sample of each flow. Records of imports of other flows are not compared.
    /// - Returns: descriptions of the inconsistencies; empty if there are none.
    func problems(_ samples: [String: ImportSample] = [:]) async throws -> [String] {
        var problems: [String] = []
        let ledger = try await self.ledger()
        let objects = try await self.objects()
        for key in try await self.uploads() { problems.append("\(key) is an unfinished upload") }
        for key in objects.keys where !ledger.contains(where: { $0.location == key }) {
            problems.append("\(key) is an object without an import")
        }
        for entry in ledger {
            problems += try await self.problems(entry, objects, samples[entry.flow]).map { "\(entry.id) \(entry.status): \($0)" }
        }
        for flow in Set(ledger.map(\.flow)) where !flow.isEmpty { problems += try await self.eventProblems(flow, ledger) }
        return problems
    }

    private func problems(_ entry: Entry, _ objects: [String: Int], _ sample: ImportSample?) async throws -> [String] {
        guard entry.status == "stored" else {
            guard entry.status == "failed" else { return ["it is neither stored nor failed"] }
            return (entry.location.isEmpty ? [] : ["it still refers to an object"])
                + (entry.rows == 0 ? [] : ["it still has \(entry.rows) rows"])
                + (entry.key.isEmpty ? [] : ["it still has its idempotency key"])
        }
        var problems: [String] = []
        if self.kind == .rows {
            if entry.rows != entry.records { problems.append("\(entry.rows) rows instead of \(entry.records)") }
        } else {
            let extra = entry.rows - min(10, entry.records)
            if extra != 0 { problems.append("\(extra) extra rows next to the object") }
            if objects[entry.location] != entry.size {
                problems.append("its object has \(objects[entry.location] ?? -1) bytes instead of \(entry.size)")
            }
        }
        guard let sample else { return problems }
        if entry.records != sample.records || entry.contentHash != sample.contentHash {
            problems.append("the ledger has \(entry.records) records, or another content hash than the sample")
        }
        return try await problems + self.recordProblems(entry, sample)
    }

    /// Descriptions of the differences between the stored records and the sample.
    private func recordProblems(_ entry: Entry, _ sample: ImportSample) async throws -> [String] {
        if self.kind == .rows {
            let reply = try await HTTPCaller(port: self.hub.port).perform(HTTPCall("GET", "/v1/imports/\(entry.id)/data"))
            let isRight = reply.status == 200 && TestDigest.sha256(reply.body) == sample.documentHash
            return isRight ? [] : ["its data differs from the sample"]
        }
        guard let bytes = try await self.bytes(entry.location) else { return ["its object is missing"] }
        var problems: [String] = []
        if TestDigest.sha256(bytes) != entry.dataHash { problems.append("its object does not match the ledger's data hash") }
        if try await TestDigest.sha256(decompressing: bytes) != sample.documentHash {
            problems.append("the records of its object differ from the sample")
        }
        return problems
    }

    /// Checks that the flow has received the result of each of its imports exactly once.
    private func eventProblems(_ flow: String, _ ledger: [Entry]) async throws -> [String] {
        let events = try await self.hub.api.history(of: flow)?.events ?? []
        var problems: [String] = []
        for entry in ledger where entry.flow == flow {
            let received = events.filter { $0.member("data")?.member("import_id")?.stringValue == entry.id }
                .compactMap { $0.member("type")?.stringValue }
            if received != ["import_\(entry.status)"] {
                problems.append("\(entry.id) \(entry.status): its flow received \(received)")
            }
        }
        return problems
    }

    /// Exit code and output of `flowhub imports sweep`.
    func sweepReport(isDryRun: Bool = true) async throws -> String {
        let run = try await self.hub.command(["imports", "sweep", "--older-than", "0s"] + (isDryRun ? ["--dry-run"] : []))
        return "\(run.exit) \(run.output)\(run.errors)"
    }
}
