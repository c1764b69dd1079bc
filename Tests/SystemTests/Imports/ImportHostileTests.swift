import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests that invalid uploads are rejected with the position of the error, and leave no data behind.
    @Suite struct ImportHostileTests {
        private static let limits = [
            "FLOWHUB_MAX_RECORD_BYTES": "65536", "FLOWHUB_MAX_CSV_COLUMNS": "50", "FLOWHUB_BODY_TIMEOUT_SECONDS": "1",
        ]

        private static func failedCount(_ cluster: ImportClusterFixture) async throws -> Int {
            let reply = try await cluster.hub.api.call("GET", "/v1/imports?status=failed&limit=1000")
            return reply.json.member("imports")?.elements.count ?? -1
        }

        @Test func rejectsInvalidBodiesWithPosition() async {
            await concurrently(ImportTopology.allCases, self.rejectsInvalidBodiesWithPosition(_:))
        }

        private func rejectsInvalidBodiesWithPosition(_ topology: ImportTopology) async throws {
            let all = try await HostileImport.all()
            try await ImportClusterFixture.running(topology, Self.limits) { cluster in
                for (number, hostile) in all.enumerated() {
                    let framing = TestUpload.Framing.allCases[number % 3]
                    let exchange = try await RawExchange.open(port: cluster.hub.port)
                    let upload = TestUpload(hostile.body, hostile.query, by: framing)
                    async let sent: Void? = try? exchange.send(
                        Array(upload.head.utf8) + (framing == .chunked ? upload.chunks : upload.body))
                    let reply = try await exchange.replies(1)[0]
                    _ = await sent
                    #expect(reply.status == hostile.status && reply.problemCode == hostile.code, "\(hostile.name): \(reply.text)")
                    #expect(reply.header("content-type") == "application/problem+json")
                    let (line, column) = (reply.json.member("line")?.intValue, reply.json.member("column")?.intValue)
                    if hostile.code == "bad_gzip" {
                        #expect(line == nil, "\(hostile.name)")
                    } else {
                        #expect(line ?? 0 > 0 && column ?? 0 > 0, "\(hostile.name): \(reply.text)")
                        #expect(reply.json.member("offset")?.intValue ?? -1 >= 0)
                    }
                    if let position = hostile.position {
                        #expect(
                            line == Int64(position.line) && column == Int64(position.column), "\(hostile.name): \(reply.text)")
                    }
                    // The connection stays usable, or is closed cleanly.
                    if reply.header("connection") == "close" {
                        try? await exchange.closeOutput()
                        try await exchange.waitUntilClosed()
                    } else {
                        try await exchange.send("GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                        #expect(try await exchange.replies(2).last?.status == 200, "\(hostile.name)")
                    }
                    exchange.close()
                }
                #expect(try await Self.failedCount(cluster) == all.count)
                try await cluster.waitUntilNothingIsLeft()
                #expect(cluster.hub.isRunning)
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func rejectsInvalidBodyBeforeItsEnd(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, Self.limits) { cluster in
                let rest = Array(repeating: UInt8(ascii: " "), count: 8 << 20)
                let reply = try await cluster.hub.answer(
                    to: Array("POST /v1/imports HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n[x".utf8) + rest)
                #expect(reply.status == 400 && reply.header("connection") == "close")
                for coding in ["br", "deflate", "gzip, gzip"] {
                    let rejected = try await cluster.hub.send(TestUpload("[1]", "", [("Content-Encoding", coding)]))
                    #expect(rejected.status == 415 && rejected.problemCode == "unsupported_content_encoding", "\(coding)")
                }
                for query in ["format=xml", "format=", "flow_id=..", "flow_id=a%0d%0ab", "flow_id="] {
                    #expect(try await cluster.hub.send(TestUpload("[1]", query)).status == 400, "\(query)")
                }
                try await cluster.waitUntilNothingIsLeft()
            }
        }

        @Test("a stalled client times out, a lost client leaves nothing, and a slow client succeeds")
        func stalledClientTimesOutAndSlowClientSucceeds() async {
            await concurrently(ImportTopology.allCases, self.stalledClientTimesOutAndSlowClientSucceeds(_:))
        }

        private func stalledClientTimesOutAndSlowClientSucceeds(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, Self.limits) { cluster in
                // More than one page of records, so that there is stored data to remove.
                let firstPart = Array(("[" + ImportOracle.records(9_000).joined(separator: ",") + ",").utf8)
                let stalled = try await RawExchange.open(port: cluster.hub.port)
                try await stalled.send(Array(TestUpload([], by: .chunked).head.utf8) + TestUpload.chunk(firstPart))
                let reply = try await stalled.replies(1)[0]
                #expect(reply.status == 408 && reply.problemCode == "request_timeout", "\(reply.text)")
                try? await stalled.closeOutput()
                try await stalled.waitUntilClosed()

                for isReset in [false, true] {
                    let before = try await Self.failedCount(cluster)
                    let disconnecting = try await RawExchange.open(port: cluster.hub.port)
                    try await disconnecting.send(Array(TestUpload([], by: .chunked).head.utf8) + TestUpload.chunk(firstPart))
                    try await eventually("the import to be pending") {
                        try await cluster.hub.api.call("GET", "/v1/imports?status=pending").text.contains("\"pending\"")
                    }
                    if isReset { disconnecting.close() } else { try await disconnecting.closeOutput() }
                    try await eventually("the import to have failed") { try await Self.failedCount(cluster) == before + 1 }
                }
                try await cluster.waitUntilNothingIsLeft()

                let slow = try await RawExchange.open(port: cluster.hub.port)
                try await slow.send(TestUpload([], by: .chunked).head)
                // Takes longer in total than the body timeout of 1 s.
                for number in 0..<10 {
                    try await slow.send(TestUpload.chunk(Array((number == 0 ? "[0" : ",\(number)").utf8)))
                    // Makes the client slow; it does not wait for anything.
                    try await Task.sleep(for: .milliseconds(200))
                }
                try await slow.send(TestUpload.chunk([UInt8(ascii: "]")]) + Array("0\r\n\r\n".utf8))
                #expect(try await slow.replies(1)[0].json.member("total_records")?.intValue == 10)
            }
        }

        @Test func rejectsGzipBombsInBoundedMemory() async {
            await concurrently(ImportTopology.allCases, self.rejectsGzipBombsInBoundedMemory(_:))
        }

        private func rejectsGzipBombsInBoundedMemory(_ topology: ImportTopology) async throws {
            let line = "{\"a\":\"" + String(repeating: "a", count: 8_000) + "\"}\n"
            let member = try await ImportOracle.gzip([Array(String(repeating: line, count: 8_192).utf8)], level: 9)
            // About 10 GB, compressed to less than 16 MiB.
            let bomb = (0..<160).reduce(into: [UInt8]()) { bomb, _ in bomb += member }
            #expect(bomb.count < 16 << 20)
            try await ImportClusterFixture.running(topology) { cluster in
                let reply = try await cluster.hub.send(TestUpload(bomb))
                #expect(reply.status == 413 && reply.problemCode == "gzip_ratio", "\(reply.text)")
                try await cluster.waitUntilNothingIsLeft()
                #expect(
                    cluster.hub.processMetrics.map { $0.peakResidentBytes < 128 << 20 } == true,
                    "\(String(describing: cluster.hub.processMetrics))"
                )
            }
            let limits = ["FLOWHUB_MAX_IMPORT_RATIO": "100000", "FLOWHUB_MAX_IMPORT_BYTES": "\(80 << 20)"]
            try await ImportClusterFixture.running(topology, limits) { cluster in
                let reply = try await cluster.hub.send(TestUpload(bomb, by: .chunked))
                #expect(reply.status == 413 && reply.problemCode == "import_too_large", "\(reply.text)")
                try await cluster.waitUntilNothingIsLeft()
                #expect(
                    cluster.hub.processMetrics.map { $0.peakResidentBytes < 128 << 20 } == true,
                    "\(String(describing: cluster.hub.processMetrics))"
                )
                // A small import is accepted under the same limits.
                #expect(try await cluster.hub.send(TestUpload(String(repeating: line, count: 100))).status == 201)
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func rejectsInvalidImportIDs(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                let entry = try await cluster.hub.store(TestUpload("[1]"))
                let wrong = [
                    "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%2f..%2fetc", "x", "%00", "%0d%0aX-A:%20b", "%c3%bc", "%ff", "%", "%zz",
                    entry.id + "x", "\(entry.id)%00", "\(entry.id.dropLast())%2f", "\(entry.id.dropLast())%C4%80",
                    "%20\(entry.id)",
                    String(repeating: "a", count: 4_000), "*", "'%20OR%201=1--", "{\(entry.id)}",
                ]
                for id in wrong {
                    for part in ["", "/data", "/records", "/sample", "/schema", "/download"] {
                        let reply = try await cluster.hub.get(id, part)
                        #expect(reply.status == 400, "\(id)\(part): \(reply.status) \(reply.text)")
                        #expect(["bad_import_id", "malformed_request"].contains(reply.problemCode), "\(id)\(part)")
                    }
                    #expect(try await cluster.hub.api.call("DELETE", "/v1/imports/\(id)").status == 400, "\(id)")
                }
                // These paths belong to no import route.
                for path in ["../imports", "a/b/c", "./\(entry.id)/x"] {
                    #expect([400, 404].contains(try await cluster.hub.get(path).status), "\(path)")
                }
                #expect(try await cluster.hub.get(entry.id.uppercased()).json == entry.json)
                #expect(try await cluster.hub.get(entry.id.replacing("-", with: "%2D")).json == entry.json)
            }
        }

        @Test(arguments: ImportTopology.allCases)
        func keepsFileNamesWithoutHeaderOrPathInjection(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                for (encoded, name) in [
                    ("..%2F..%2Fetc%2Fpasswd", "../../etc/passwd"), ("..", ".."), ("%2F", "/"), ("C%3A%5Ca.csv", #"C:\a.csv"#),
                    ("%C3%BC%F0%9F%98%80.csv", "ü😀.csv"), ("a%22%3B%20filename%3Db", #"a"; filename=b"#),
                    ("%3Cb%3E'%60%24(x)", "<b>'`$(x)"),
                    ("%E2%80%AEgnp.exe", "\u{202e}gnp.exe"),
                    (String(repeating: "n", count: 255), String(repeating: "n", count: 255)),
                ] {
                    let entry = try await cluster.hub.store(
                        TestUpload("[1]", "file_name=\(encoded)&source_type=\(encoded.prefix(21))"))
                    #expect(entry.json.member("file_name")?.stringValue == name)
                    #expect(try await cluster.hub.get(entry.id).json.member("file_name")?.stringValue == name)
                    if let location = entry.location {
                        #expect(location.hasSuffix("/\(entry.id)/raw_data.json.gz"))
                        #expect(try await cluster.keys().contains(location))
                    }
                    guard topology == .r2 else { continue }
                    let link = try #require(try await cluster.hub.get(entry.id, "/download").header("location"))
                    #expect(link.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f })
                    let exchange = try await RawExchange.open(port: cluster.proxy.port)
                    try await exchange.send(
                        "GET \(link.dropFirst(cluster.proxy.endpoint.utf8.count)) HTTP/1.1\r\nHost: 127.0.0.1:\(cluster.proxy.port)\r\n\r\n"
                    )
                    let object = try await exchange.replies(1)[0]
                    exchange.close()
                    let disposition = try #require(object.header("content-disposition"))
                    let file = try #require(disposition.split(separator: "\"").dropFirst().first)
                    #expect(object.status == 200 && disposition == "attachment; filename=\"\(file)\"", "\(disposition)")
                    #expect(file.hasSuffix(".json.gz") && !file.hasPrefix("."))
                    #expect(
                        file.utf8.allSatisfy { ($0 > 0x20 || $0 == 0x20) && $0 < 0x7f && !"/\\\"%;".utf8.contains($0) }, "\(file)"
                    )
                }
                for encoded in ["a%0D%0AX-A%3A%20b", "a%00b", "%7F", "%C2%85", String(repeating: "n", count: 256)] {
                    for name in ["file_name", "source_type"] {
                        let reply = try await cluster.hub.send(TestUpload("[1]", "\(name)=\(encoded)"))
                        #expect(
                            reply.status == 400 && reply.problemCode == "bad_parameter",
                            "\(name) \(encoded.prefix(20)): \(reply.text)")
                    }
                }
                #expect(try await Self.failedCount(cluster) == 0)
            }
        }
    }
}
