import FlowCore
import FlowTestKit
import Foundation
import Testing

extension ImportSystemTests {
    /// Lists, links, what is at hand, and how an import goes.
    @Suite struct ImportListTests {
        private static func ids(_ reply: HTTPReply) -> [String] {
            (reply.json.member("imports")?.elements ?? []).compactMap { $0.member("id")?.stringValue }
        }

        @Test("imports are listed, the latest first, page by page, by flow and by status", arguments: ImportTopology.allCases)
        func lists(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp) { stage in
                let api = stage.hub.api
                #expect(try await api.call("GET", "/v1/imports").text == #"{"imports":[],"next":null}"#)
                var ids: [String] = []
                for number in 0..<5 {
                    ids.insert(try await stage.hub.store(TestUpload("[\(number)]", "flow_id=f-\(number % 2)")).id, at: 0)
                }
                #expect(try await stage.hub.send(TestUpload("[1,", "flow_id=f-0")).status == 400)
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
                // A failed one has no records, and says so.
                let failure = try #require(Self.ids(failed).first)
                for part in ["data", "records", "sample", "schema", "download"] {
                    let reply = try await stage.hub.get(failure, "/\(part)")
                    #expect(reply.status == 409 && reply.problemCode == "import_failed", "\(part)")
                }
            }
        }

        @Test("a link gives the object to whoever has it, and to nobody else")
        func links() async throws {
            let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_DOWNLOAD_SECONDS": "60"]
            try await ImportClusterFixture.running(.r2, environment) { stage in
                let token = TestToken(scopes: ["imports"]).header
                let entry = try await stage.hub.store(TestUpload("[1,2]", "file_name=..%2Fa%22b.csv", [token]))
                let reply = try await stage.hub.get(entry.id, "/download", [token])
                #expect(reply.status == 302 && reply.header("cache-control") == "no-store")
                let link = try #require(reply.header("location"))
                let proxy = try stage.proxy
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
                #expect(object.body == (try await stage.object(#require(entry.location))))
                let disposition = try #require(object.header("content-disposition"))
                #expect(disposition.hasPrefix("attachment") && disposition.contains(".json.gz"))
                #expect(!disposition.contains("..") && !disposition.contains("/") && disposition.filter { $0 == "\"" }.count == 2)
                let forged = link.replacingOccurrences(of: "X-Amz-Signature=", with: "X-Amz-Signature=0")
                #expect(try await fetch(forged).status == 403)
                #expect(try await fetch(link.replacingOccurrences(of: "raw_data", with: "raw_date")).status == 403)
            }
        }

        @Test("where there are no links nobody is promised one", arguments: [ImportTopology.embedded, .rows])
        func noLinks(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp) { stage in
                let entry = try await stage.hub.store(TestUpload("[1]"))
                let reply = try await stage.hub.get(entry.id, "/download")
                #expect(reply.status == 409 && reply.problemCode == "no_link")
            }
        }

        @Test("samples and analyses lie in Redis as the older service reads them, and are made anew when they are gone")
        func cache() async throws {
            try await ImportClusterFixture.running(.r2, hubs: 2) { stage in
                let redis = try SharedRedis.server
                let records = ImportOracle.records(120)
                let entry = try await stage.hub.store(TestUpload(records.joined(separator: "\n")))
                let (sample, analysis) = ("import:sample:\(entry.id)", "schema:analysis:\(entry.id)")
                try await eventually("the sample to be there") { try await redis.command(["EXISTS", sample]) == "1" }
                let program = """
                    import json, sys
                    records = json.loads(sys.argv[1])
                    print(type(records).__name__, len(records), records[7]["name"])
                    """
                #expect(
                    try await TestTools.python(program, [redis.command(["GET", sample])]) == "list 100 host-7.example.org")
                #expect(try await Int(redis.command(["TTL", sample])).map { (3_500...3_600).contains($0) } == true)
                let schema = try await stage.hub.get(entry.id, "/schema")
                try await eventually("the analysis to be there") { try await redis.command(["EXISTS", analysis]) == "1" }
                #expect(try await jsonText(redis.command(["GET", analysis])).member("field_info")?.members.count == 7)

                // From there it comes to every instance, without a question to R2.
                try stage.proxy.forget()
                for _ in 0..<2 {
                    let reply = try await stage.other.get(entry.id, "/sample")
                    #expect(reply.json.member("records")?.elements.map(\.string) == Array(records.prefix(100)))
                    #expect(try await stage.other.get(entry.id, "/schema").json == schema.json)
                }
                #expect(try stage.proxy.requests.isEmpty)
                try await redis.command(["DEL", sample, analysis])
                #expect(
                    try await stage.other.get(entry.id, "/sample").json.member("records")?.elements.map(\.string)
                        == Array(records.prefix(100)))
                #expect(try await stage.other.get(entry.id, "/schema").json == schema.json)
                #expect(try stage.proxy.requests.count == 2)
                try await eventually("both to be there again") { try await redis.command(["EXISTS", sample, analysis]) == "2" }
                for (kind, result) in [("sample", "hit"), ("sample", "miss"), ("analysis", "hit"), ("analysis", "miss")] {
                    let name = "flowhub_import_cache_total{cache=\"\(kind)\",result=\"\(result)\"}"
                    #expect(try await stage.other.api.metric(name) ?? 0 > 0, "\(name)")
                }
                // What somebody else put there in its place is not handed out as records.
                try await redis.command(["SET", sample, "{\"no\":"])
                #expect(try await stage.hub.get(entry.id, "/sample").json.member("records")?.elements.count == 100)
            }
        }

        @Test("what is deleted is gone from everywhere", arguments: ImportTopology.allCases)
        func deletion(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp, hubs: 2) { stage in
                let entry = try await stage.hub.store(
                    TestUpload(ImportOracle.records(500).joined(separator: "\n"), "flow_id=f"))
                let kept = try await stage.hub.store(TestUpload("[1]"))
                _ = try await stage.other.get(entry.id, "/schema")
                let reply = try await stage.other.api.call("DELETE", "/v1/imports/\(entry.id)")
                #expect(reply.status == 204)
                for part in ["", "/data", "/records", "/sample", "/schema", "/download"] {
                    #expect(try await stage.hub.get(entry.id, part).status == 404, "\(part)")
                }
                #expect(try await stage.hub.api.call("DELETE", "/v1/imports/\(entry.id)").status == 404)
                #expect(Self.ids(try await stage.hub.api.call("GET", "/v1/imports")) == [kept.id])
                #expect(try await stage.keys() == [kept.location].compactMap { $0 })
                try await eventually("its rows to be gone") { try await stage.rowCount() == 1 }
                #expect(try await stage.query("SELECT count(*) FROM data_imports") == "1")
                if setUp == .r2 {
                    let names = ["import:sample:\(entry.id)", "schema:analysis:\(entry.id)"]
                    try await eventually("the cache to be empty") {
                        try await SharedRedis.server.command(["EXISTS"] + names) == "0"
                    }
                }
            }
        }

        @Test("an object that cannot be removed now is removed later; the import is gone at once")
        func laterDeletion() async throws {
            try await ImportClusterFixture.running(.r2, ["FLOWHUB_R2_ATTEMPTS": "1"]) { stage in
                let entry = try await stage.hub.store(TestUpload("[1]"))
                try stage.proxy.inject(.unavailable, on: .deleteObject)
                #expect(try await stage.hub.api.call("DELETE", "/v1/imports/\(entry.id)").status == 204)
                #expect(try await stage.hub.get(entry.id).status == 404)
                #expect(try await stage.keys().count == 1)
                let sweep = try await stage.hub.command(["imports", "sweep"])
                #expect(sweep.exit == .code(0), "\(sweep.errors)")
                try await stage.waitUntilNothingIsLeft()
                #expect(try await stage.query("SELECT count(*) FROM data_imports") == "0")
            }
        }
    }
}
