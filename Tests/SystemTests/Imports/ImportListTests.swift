import FlowCore
import FlowTestKit
import Foundation
import Testing

extension ImportSystemTests {
    /// Tests of lists, download links, cached samples and analyses, and deletion.
    @Suite struct ImportListTests {
        private static func ids(_ reply: HTTPReply) -> [String] {
            (reply.json.member("imports")?.elements ?? []).compactMap { $0.member("id")?.stringValue }
        }

        @Test(arguments: ImportTopology.allCases)
        func listsImportsByPageFlowAndStatus(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                let api = cluster.hub.api
                #expect(try await api.call("GET", "/v1/imports").text == #"{"imports":[],"next":null}"#)
                var ids: [String] = []
                for number in 0..<5 {
                    ids.insert(try await cluster.hub.store(TestUpload("[\(number)]", "flow_id=f-\(number % 2)")).id, at: 0)
                }
                #expect(try await cluster.hub.send(TestUpload("[1,", "flow_id=f-0")).status == 400)
                let failed = try await api.call("GET", "/v1/imports?status=failed")
                #expect(Self.ids(failed).count == 1)
                let entry = try #require(failed.json.member("imports")?.elements.first)
                #expect(entry.member("failure")?.stringValue?.contains("Line 1") == true)
                #expect(entry.member("storage_location") == .null && entry.member("storage_metadata") == .null)
                #expect(Self.ids(try await api.call("GET", "/v1/imports?status=stored")) == ids)
                #expect(Self.ids(try await api.call("GET", "/v1/imports")) == Self.ids(failed) + ids)
                #expect(try await Self.ids(api.call("GET", "/v1/imports?flow_id=f-1")) == [ids[1], ids[3]])
                #expect(try await Self.ids(api.call("GET", "/v1/imports?flow_id=f-1&status=failed")).isEmpty)
                var paged: [String] = []
                var next: String? = ""
                while let after = next {
                    let page = try await api.call(
                        "GET", "/v1/imports?status=stored&limit=2" + (after.isEmpty ? "" : "&after=\(after)"))
                    #expect(Self.ids(page).count <= 2)
                    paged += Self.ids(page)
                    next = page.json.member("next")?.stringValue
                }
                #expect(paged == ids)
                for wrong in ["status=deleting", "status=x", "limit=0", "limit=x"] {
                    #expect(try await api.call("GET", "/v1/imports?\(wrong)").problemCode == "bad_parameter", "\(wrong)")
                }
                #expect(try await api.call("GET", "/v1/imports?after=x").problemCode == "bad_import_id")
                #expect(try await api.call("GET", "/v1/imports?flow_id=a/b").problemCode == "bad_flow_id")
                // A failed import has no records: reads are answered with `import_failed`.
                let failure = try #require(Self.ids(failed).first)
                for part in ["data", "records", "sample", "schema", "download"] {
                    let reply = try await cluster.hub.get(failure, "/\(part)")
                    #expect(reply.status == 409 && reply.problemCode == "import_failed", "\(part)")
                }
            }
        }

        @Test func downloadLinkGrantsAccessToOneObjectOnly() async throws {
            let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_DOWNLOAD_SECONDS": "60"]
            try await ImportClusterFixture.running(.r2, environment) { cluster in
                let token = TestToken(scopes: ["imports"]).header
                let entry = try await cluster.hub.store(TestUpload("[1,2]", "file_name=..%2Fa%22b.csv", [token]))
                let reply = try await cluster.hub.get(entry.id, "/download", [token])
                #expect(reply.status == 302 && reply.header("cache-control") == "no-store")
                let link = try #require(reply.header("location"))
                let proxy = try cluster.proxy
                #expect(link.hasPrefix(proxy.endpoint + "/") && link.contains("X-Amz-Expires=60"))
                func fetch(_ link: String) async throws -> HTTPReply {
                    let exchange = try await RawExchange.open(port: proxy.port)
                    defer { exchange.close() }
                    let target = link.dropFirst(proxy.endpoint.utf8.count)
                    try await exchange.send("GET \(target) HTTP/1.1\r\nHost: 127.0.0.1:\(proxy.port)\r\n\r\n")
                    return try await exchange.replies(1)[0]
                }
                let object = try await fetch(link)
                #expect(object.status == 200)
                #expect(object.body == (try await cluster.object(#require(entry.location))))
                let disposition = try #require(object.header("content-disposition"))
                #expect(disposition.hasPrefix("attachment") && disposition.contains(".json.gz"))
                #expect(!disposition.contains("..") && !disposition.contains("/") && disposition.filter { $0 == "\"" }.count == 2)
                // For a page, which sends its token in a header and cannot follow the redirect.
                let named = try await cluster.hub.get(entry.id, "/download", [token, ("Accept", "application/json")])
                #expect(named.status == 200 && named.header("cache-control") == "no-store")
                let url = try #require(named.json.member("url")?.stringValue)
                #expect(try await fetch(url).body == object.body)
                let forged = link.replacingOccurrences(of: "X-Amz-Signature=", with: "X-Amz-Signature=0")
                #expect(try await fetch(forged).status == 403)
                #expect(try await fetch(link.replacingOccurrences(of: "raw_data", with: "raw_date")).status == 403)
            }
        }

        @Test(arguments: [ImportTopology.embedded, .rows])
        func rejectsDownloadIfStoreHasNoLinks(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                let entry = try await cluster.hub.store(TestUpload("[1]"))
                let reply = try await cluster.hub.get(entry.id, "/download")
                #expect(reply.status == 409 && reply.problemCode == "no_link")
            }
        }

        @Test func cachesSamplesAndAnalysesInRedis() async throws {
            try await ImportClusterFixture.running(.r2, hubs: 2) { cluster in
                let redis = try SharedRedis.server
                let records = ImportOracle.records(120)
                let entry = try await cluster.hub.store(TestUpload(records.joined(separator: "\n")))
                let (sample, analysis) = ("import:sample:\(entry.id)", "schema:analysis:\(entry.id)")
                try await eventually("the sample to be cached") { try await redis.command(["EXISTS", sample]) == "1" }
                let program = """
                    import json, sys
                    records = json.loads(sys.argv[1])
                    print(type(records).__name__, len(records), records[7]["name"])
                    """
                #expect(
                    try await TestTools.python(program, [redis.command(["GET", sample])]) == "list 100 host-7.example.org")
                #expect(try await Int(redis.command(["TTL", sample])).map { (3_500...3_600).contains($0) } == true)
                let schema = try await cluster.hub.get(entry.id, "/schema")
                try await eventually("the analysis to be cached") { try await redis.command(["EXISTS", analysis]) == "1" }
                #expect(try await jsonText(redis.command(["GET", analysis])).member("field_info")?.members.count == 7)

                // Every instance reads them from Redis, without a request to R2.
                try cluster.proxy.forget()
                for _ in 0..<2 {
                    let reply = try await cluster.other.get(entry.id, "/sample")
                    #expect(reply.json.member("records")?.elements.map(\.string) == Array(records.prefix(100)))
                    #expect(try await cluster.other.get(entry.id, "/schema").json == schema.json)
                }
                #expect(try cluster.proxy.requests.isEmpty)
                try await redis.command(["DEL", sample, analysis])
                #expect(
                    try await cluster.other.get(entry.id, "/sample").json.member("records")?.elements.map(\.string)
                        == Array(records.prefix(100)))
                #expect(try await cluster.other.get(entry.id, "/schema").json == schema.json)
                #expect(try cluster.proxy.requests.count == 2)
                try await eventually("both to be cached again") { try await redis.command(["EXISTS", sample, analysis]) == "2" }
                for (kind, result) in [("sample", "hit"), ("sample", "miss"), ("analysis", "hit"), ("analysis", "miss")] {
                    let name = "flowhub_import_cache_total{cache=\"\(kind)\",result=\"\(result)\"}"
                    #expect(try await cluster.other.api.metric(name) ?? 0 > 0, "\(name)")
                }
                // An invalid cached value is not returned as records.
                try await redis.command(["SET", sample, "{\"no\":"])
                #expect(try await cluster.hub.get(entry.id, "/sample").json.member("records")?.elements.count == 100)
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func deleteRemovesImportEverywhere(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, hubs: 2) { cluster in
                let entry = try await cluster.hub.store(
                    TestUpload(ImportOracle.records(500).joined(separator: "\n"), "flow_id=f"))
                let remaining = try await cluster.hub.store(TestUpload("[1]"))
                _ = try await cluster.other.get(entry.id, "/schema")
                let reply = try await cluster.other.api.call("DELETE", "/v1/imports/\(entry.id)")
                #expect(reply.status == 204)
                for part in ["", "/data", "/records", "/sample", "/schema", "/download"] {
                    #expect(try await cluster.hub.get(entry.id, part).status == 404, "\(part)")
                }
                #expect(try await cluster.hub.api.call("DELETE", "/v1/imports/\(entry.id)").status == 404)
                #expect(Self.ids(try await cluster.hub.api.call("GET", "/v1/imports")) == [remaining.id])
                #expect(try await cluster.keys() == [remaining.location].compactMap { $0 })
                try await eventually("its rows to be deleted") { try await cluster.rowCount() == 1 }
                #expect(try await cluster.query("SELECT count(*) FROM data_imports") == "1")
                if topology == .r2 {
                    let names = ["import:sample:\(entry.id)", "schema:analysis:\(entry.id)"]
                    try await eventually("the cache to be empty") {
                        try await SharedRedis.server.command(["EXISTS"] + names) == "0"
                    }
                }
            }
        }

        @Test func sweepRemovesObjectWhoseDeletionFailed() async throws {
            try await ImportClusterFixture.running(.r2, ["FLOWHUB_R2_ATTEMPTS": "1"]) { cluster in
                let entry = try await cluster.hub.store(TestUpload("[1]"))
                try cluster.proxy.inject(.unavailable, on: .deleteObject)
                #expect(try await cluster.hub.api.call("DELETE", "/v1/imports/\(entry.id)").status == 204)
                #expect(try await cluster.hub.get(entry.id).status == 404)
                #expect(try await cluster.keys().count == 1)
                let sweep = try await cluster.hub.command(["imports", "sweep"])
                #expect(sweep.exit == .code(0), "\(sweep.errors)")
                try await cluster.waitUntilNothingIsLeft()
                #expect(try await cluster.query("SELECT count(*) FROM data_imports") == "0")
            }
        }
    }
}
