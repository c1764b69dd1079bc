import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests of the events that a flow receives about its imports, on any instance.
    @Suite struct ImportEventTests {
        /// The member `data` of an import event.
        private static func data(_ block: EventBlock) throws -> JSONText {
            let text = try #require(block.data)
            return try #require(try jsonText(text).member("data"))
        }

        @Test func sendsTransientProgressAndDurableResult() async {
            await concurrently(ImportTopology.allCases, self.sendsTransientProgressAndDurableResult(_:))
        }

        private func sendsTransientProgressAndDurableResult(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, hubs: 2, ["FLOWHUB_IMPORT_PROGRESS_MS": "50"]) { cluster in
                _ = try await cluster.hub.api.put("f", jsonText(#"{"status":"running"}"#))
                // Without Redis, transient events stay on their instance.
                let watcher = EventStreamClient(.flow("f"), port: topology == .rows ? cluster.hub.port : cluster.other.port)
                try await watcher.connect(.none)
                _ = try await watcher.next(event: "snapshot")

                let exchange = try await RawExchange.open(port: cluster.hub.port)
                defer { exchange.close() }
                try await exchange.send(
                    TestUpload("", "flow_id=f&file_name=a.ndjson").head.replacing(
                        "Content-Length: 0", with: "Transfer-Encoding: chunked"))
                var count = 0
                try await eventually("progress", every: .milliseconds(15)) {
                    try await exchange.send(TestUpload.chunk(Array("{\"n\":\(count)}\n".utf8)))
                    count += 1
                    return watcher.log.events("import_progress").count >= 3
                }
                let progress = try watcher.log.events("import_progress").map { try Self.data($0) }
                let records = progress.compactMap { $0.member("records")?.intValue }
                #expect(records == records.sorted() && (records.last ?? 0) > 0 && (records.last ?? 0) <= Int64(count))
                let last = try #require(progress.last)
                #expect(
                    last.members.map(\.key) == [
                        "import_id", "file_name", "bytes", "records", "bytes_per_second", "records_per_second",
                    ])
                #expect(last.member("bytes_per_second")?.intValue ?? 0 > 0)
                #expect(
                    watcher.log.events("import_progress").allSatisfy { $0.id == nil }, "transient events have no id")
                #expect(watcher.log.events("import_stored").isEmpty)
                let id = try #require(last.member("import_id")?.stringValue)
                let pending = try await cluster.other.get(id)
                #expect(pending.json.member("status")?.stringValue == "pending")
                #expect(try await cluster.other.get(id, "/data").problemCode == "import_pending")

                // A request with the key that names this event does not suppress it.
                let forged = try await cluster.hub.api.with(header: "Idempotency-Key", "import:\(id):stored").patch(
                    "f", .emptyObject)
                #expect(forged.isAcknowledged)
                try await exchange.send("0\r\n\r\n")
                let entry = try #require(StoredImport(try await exchange.replies(1)[0].json))
                #expect(entry.id == id && entry.total == count)
                let stored = try Self.data(try await watcher.next(event: "import_stored"))
                #expect(
                    stored.members.map(\.key) == [
                        "import_id", "file_name", "total_records", "storage_location", "storage_provider", "size_bytes",
                        "original_size_bytes", "content_hash",
                    ])
                #expect(stored.member("content_hash")?.stringValue == entry.contentHash)
                #expect(stored.member("storage_location")?.stringValue == entry.location)
                #expect(
                    try await cluster.hub.api.history(of: "f")?.events.filter { $0.string.contains("import_stored") }.count == 1)
                #expect(
                    try await cluster.hub.api.history(of: "f")?.events.contains { $0.string.contains("import_progress") } == false
                )

                // A later subscriber receives it from history.
                let late = EventStreamClient(.flow("f"), port: cluster.hub.port)
                try await late.connect(.text(#require(watcher.log.blocks.first { $0.event == "snapshot" }?.id)))
                #expect(try Self.data(try await late.next(event: "import_stored")) == stored)

                let rejected = try await cluster.hub.send(TestUpload("{\"a\":1}\n{\"a\":}\n", "flow_id=f&file_name=b"))
                #expect(rejected.status == 400)
                let failed = try Self.data(try await watcher.next(event: "import_failed"))
                #expect(failed.members.map(\.key) == ["import_id", "file_name", "code", "reason"])
                #expect(failed.member("code")?.stringValue == "bad_json")
                #expect(failed.member("reason")?.stringValue?.hasPrefix("Line 2, column 6") == true)
            }
        }

        @Test(arguments: [ImportTopology.embedded])
        func progressContainsTotalAndResultCreatesFlow(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, ["FLOWHUB_IMPORT_PROGRESS_MS": "50"]) { cluster in
                let watcher = EventStreamClient(.flow("new"), port: cluster.hub.port)
                try await watcher.connect(.none)
                let body = Array(ImportOracle.records(2_000).joined(separator: "\n").utf8)
                let exchange = try await RawExchange.open(port: cluster.hub.port)
                defer { exchange.close() }
                try await exchange.send(TestUpload(body, "flow_id=new").head)
                var rest = body[...]
                try await eventually("progress", every: .milliseconds(15)) {
                    let piece = rest.prefix(1_000)
                    rest = rest.dropFirst(1_000)
                    try await exchange.send(Array(piece))
                    return !watcher.log.events("import_progress").isEmpty
                }
                try await exchange.send(Array(rest))
                #expect(try await exchange.replies(1)[0].status == 201)
                let progress = try Self.data(#require(watcher.log.events("import_progress").first))
                #expect(progress.member("total_bytes")?.intValue == Int64(body.count))
                _ = try await watcher.next(event: "import_stored")
                #expect(try await cluster.hub.api.state(of: "new")?.version == 1)
            }
        }
    }
}
