import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests that uploads are stored unchanged and can be read back completely, in every topology.
    @Suite struct ImportTests {
        /// An upload in one of the three formats, and the records that it contains.
        private struct Form: Sendable {
            var format: String
            var text: String
            var records: [String]

            static let json = (0..<40).map {
                "{ \"b\" : \($0).0, \"a\":[1e2,\t\"\\u00e9\\/\", {\"x\" :null}],\n\"a\": \"ü\\u0000\" }"
            }
            static let compact = (0..<40).map { "{\"b\":\($0).0,\"a\":[1e2,\"\\u00e9\\/\",{\"x\":null}],\"a\":\"ü\\u0000\"}" }

            static let all = [
                Form(format: "json", text: " [" + Self.json.joined(separator: " ,\r\n") + "]\n", records: Self.compact),
                Form(
                    format: "ndjson",
                    text: Self.json.map { $0.filter { $0 != "\n" } }.joined(separator: "\r\n") + "\n\n", records: Self.compact),
                Form(
                    format: "csv",
                    text: "\u{feff}id;note\r\n1;\"a; \"\"b\"\"\r\nc\"\r\n2\r\n3;x;more\r\n",
                    records: [
                        #"{"id":"1","note":"a; \"b\"\r\nc"}"#, #"{"id":"2","note":null}"#,
                        #"{"id":"3","note":"x","_extra":["more"]}"#,
                    ]),
            ]
        }

        @Test("accepts JSON, NDJSON and CSV, plain and gzip, with a length, chunked and after 100 Continue")
        func acceptsEveryFormatCompressionAndFraming() async {
            await concurrently(ImportTopology.allCases, self.acceptsEveryFormatCompressionAndFraming(_:))
        }

        private func acceptsEveryFormatCompressionAndFraming(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                for form in Form.all {
                    let text = Array(form.text.utf8)
                    let third = text.count / 3
                    let compressed = try await ImportOracle.gzip([text])
                    let members = try await ImportOracle.gzip(
                        [Array(text[..<third]), [], Array(text[third..<(2 * third)]), Array(text[(2 * third)...])])
                    let expected = try await ImportOracle.read(ImportOracle.document(form.records))
                    for (body, framing) in [text, compressed, members].flatMap({ body in
                        TestUpload.Framing.allCases.map { (body, $0) }
                    }) {
                        let entry = try await cluster.hub.store(TestUpload(body, "format=\(form.format)", by: framing))
                        #expect(entry.total == form.records.count, "\(form.format) \(framing)")
                        #expect(entry.contentHash == expected.contentHash)
                        #expect(try await cluster.hub.records(entry.id, from: 0) == form.records)
                        #expect(try await cluster.hub.get(entry.id, "/data").body == ImportOracle.document(form.records))
                    }
                }
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func importResourceHasExpectedMembersAndValues(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                let records = ImportOracle.records(300)
                let reply = try await cluster.hub.send(
                    TestUpload(
                        records.joined(separator: "\n"), "flow_id=f-1&file_name=hosts%20%C3%BC.ndjson&source_type=cmdb"))
                #expect(reply.status == 201)
                let entry = try #require(StoredImport(reply.json))
                #expect(reply.header("location") == "/v1/imports/\(entry.id)")
                #expect(
                    entry.json.members.map(\.key) == [
                        "id", "status", "flow_id", "file_name", "source_type", "created_at", "total_records", "field_summary",
                        "storage_location", "storage_provider", "storage_metadata",
                    ])
                #expect(entry.json.member("flow_id")?.stringValue == "f-1")
                #expect(entry.json.member("file_name")?.stringValue == "hosts ü.ndjson")
                #expect(entry.json.member("source_type")?.stringValue == "cmdb")
                #expect(entry.provider == topology.provider)
                let summary = try #require(entry.json.member("field_summary"))
                #expect(summary.member("field_count")?.intValue == 7)
                #expect(
                    summary.member("fields")?.member("owner")?.string
                        == #"{"count":300,"nulls":43,"types":{"string":257,"null":43}}"#)
                #expect(
                    entry.metadata.members.map(\.key) == [
                        "storage_location", "bucket", "size_bytes", "original_size_bytes", "compression_ratio", "record_count",
                        "data_hash", "content_hash", "storage_class",
                    ])
                #expect(entry.number("record_count") == 300)
                #expect(entry.metadata.member("storage_class")?.stringValue == "STANDARD")
                #expect(try await cluster.hub.get(entry.id).json == entry.json)

                let document = try await cluster.hub.get(entry.id, "/data")
                #expect(document.header("content-type") == "application/json")
                let plain = try await ImportOracle.read(document.body)
                #expect(plain.records == 300)
                #expect(plain.bytes == entry.number("original_size_bytes"))
                #expect(plain.contentHash == entry.contentHash)
                let gzip = try await cluster.hub.get(entry.id, "/data", [("Accept-Encoding", "br, gzip;q=0.5")])
                if topology.hasObjects {
                    let location = try #require(entry.location)
                    #expect(location.hasPrefix("imports/0/") && location.hasSuffix("/\(entry.id)/raw_data.json.gz"))
                    let object = try #require(try await cluster.object(location))
                    let stored = try await ImportOracle.read(object)
                    #expect(stored.dataHash == entry.dataHash)
                    #expect(stored.contentHash == entry.contentHash)
                    #expect(object.count == entry.number("size_bytes"))
                    #expect(stored.bytes == plain.bytes)
                    #expect(gzip.header("content-encoding") == "gzip" && gzip.body == object)
                    let head = try await cluster.bucket?.head(location)
                    #expect(head == nil || head?.header("content-type") == "application/gzip")
                    #expect(head?.header("content-encoding") == nil)
                } else {
                    #expect(entry.location == nil && entry.dataHash == nil)
                    #expect(gzip.header("content-encoding") == nil && gzip.body == document.body)
                }
                #expect(try await cluster.rowCount() == (topology.hasObjects ? 10 : 300))
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func keepsRecordTextUnchanged(_ topology: ImportTopology) async throws {
            let records = [
                #"{"n":1.0}"#, #"{"n":1.00e+005,"m":-0,"k":0.1000}"#,
                #"{"n":12345678901234567890123456789012345678901234567890}"#,
                #"{"n":1.7976931348623157e308,"m":1e-400}"#, #"{"z":1,"a":2,"m":3}"#, #"{"a":1,"a":2,"a":{"a":1,"a":2}}"#,
                #"{"t":"\u0000"}"#,
                #"{"t":"\ud83d\ude00 😀 \/ / \b\f\n\r\t \"\\"}"#, #"{"\u0000":"\u0041"}"#, #"{}"#, #"[]"#, "null",
                #""text""#, "7.50", "true", #"[1,[2,[3,{"x":[]}]]]"#, #"{"":""}"#, #"{"e":"é","é":"é"}"#,
            ]
            try await ImportClusterFixture.running(topology) { cluster in
                let entry = try await cluster.hub.store(TestUpload("[" + records.joined(separator: ",") + "]"))
                #expect(try await cluster.hub.records(entry.id, from: 0) == records)
                #expect(try await cluster.hub.get(entry.id, "/data").body == ImportOracle.document(records))
                #expect(try await cluster.hub.get(entry.id, "/sample").json.member("records")?.elements.map(\.string) == records)
            }
        }

        @Test("reads records at an offset, sample, schema and document over several gzip members")
        func readsRecordsSampleSchemaAndDocument() async {
            await concurrently(ImportTopology.allCases, self.readsRecordsSampleSchemaAndDocument(_:))
        }

        private func readsRecordsSampleSchemaAndDocument(_ topology: ImportTopology) async throws {
            let records = ImportOracle.records(15_000)
            try await ImportClusterFixture.running(topology) { cluster in
                let hub = cluster.hub
                let entry = try await hub.store(TestUpload(records.joined(separator: "\n")))
                #expect(entry.total == records.count)
                if let location = entry.location {
                    let stored = try await ImportOracle.read(#require(try await cluster.object(location)))
                    #expect(stored.members >= 3)
                    #expect(stored.contentHash == entry.contentHash && stored.dataHash == entry.dataHash)
                }
                for (offset, limit) in [
                    (0, 1), (0, 100), (7_499, 3), (4_000, 1_000), (8_500, 1_000), (14_999, 1), (14_950, 100), (15_000, 5),
                    (9_223_372_036_854_775_807, 1_000),
                ] {
                    let expected = offset < records.count ? Array(records[offset...].prefix(limit)) : []
                    #expect(try await hub.records(entry.id, from: offset, limit: limit) == expected, "\(offset) \(limit)")
                }
                // Across the boundaries of gzip members.
                for offset in stride(from: 0, to: 15_000, by: 997) {
                    #expect(try await hub.records(entry.id, from: offset, limit: 999) == Array(records[offset...].prefix(999)))
                }
                let first = try await hub.get(entry.id, "/records")
                #expect(first.json.member("records")?.elements.count == 100)
                let most = try await hub.get(entry.id, "/records?limit=100000")
                #expect(most.json.member("records")?.elements.count == 1_000)
                #expect(first.json.member("offset")?.intValue == 0 && first.json.member("total_records")?.intValue == 15_000)
                for wrong in ["offset=-1", "offset=x", "limit=0", "limit=x"] {
                    #expect(try await hub.get(entry.id, "/records?\(wrong)").problemCode == "bad_parameter", "\(wrong)")
                }
                let sample = try await hub.get(entry.id, "/sample")
                #expect(sample.json.member("records")?.elements.map(\.string) == Array(records.prefix(100)))

                let schema = try await hub.get(entry.id, "/schema").json
                #expect(schema.member("analysis_type")?.stringValue == "streaming_sample")
                #expect(schema.member("total_records")?.intValue == 15_000)
                #expect(schema.member("records_analyzed")?.intValue.map { (4_500...5_500).contains($0) } == true)
                let field = schema.member("field_info")?.member("ip")
                #expect(field?.member("pattern")?.stringValue == "ip_address")
                #expect(schema.member("mapping") == .null)
                let key = try #require(schema.member("pattern_key")?.stringValue)
                let pattern = try jsonText(#"{"pattern":{"ip":"address"},"confidence":0.9}"#)
                #expect(try await hub.api.call("PUT", "/v1/patterns/\(key)", pattern).status < 300)
                #expect(
                    try await hub.get(entry.id, "/schema").json.member("mapping")?.member("pattern")?.string
                        == #"{"ip":"address"}"#)
                #expect(try await hub.get(entry.id, "/data").body == ImportOracle.document(records))
            }
        }

        @Test func readsRecordsWithOneRangedRequest() async throws {
            try await ImportClusterFixture.running(.r2) { cluster in
                let entry = try await cluster.hub.store(TestUpload(ImportOracle.records(15_000).joined(separator: "\n")))
                try cluster.proxy.forget()
                #expect(try await cluster.hub.records(entry.id, from: 13_000, limit: 100).count == 100)
                let requests = try cluster.proxy.requests.filter { $0.bucket == cluster.bucket?.name }
                #expect(requests.map(\.operation) == [.getObject])
                #expect(requests.first?.range != nil)
                #expect(requests.first.map { $0.replyBytes < (entry.number("size_bytes") ?? 0) * 2 / 3 } == true)
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func acceptsEmptyArray(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                for text in ["[]", " [ \n ] "] {
                    let entry = try await cluster.hub.store(TestUpload(text))
                    #expect(entry.total == 0)
                    #expect(try await cluster.hub.records(entry.id, from: 0).isEmpty)
                    #expect(try await cluster.hub.get(entry.id, "/data").text == "[\n]\n")
                    #expect(try await cluster.hub.get(entry.id, "/schema").json.member("records_analyzed")?.intValue == 0)
                    #expect(try await cluster.hub.get(entry.id, "/sample").text == #"{"records":[]}"#)
                }
            }
        }
    }
}
