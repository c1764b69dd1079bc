import FlowCore
import FlowTestKit
import Foundation
import Glibc
import Testing

extension ImportSystemTests {
    /// Hubs and commands with `FLOWHUB_IMPORT_KEYS`.
    @Suite struct ImportEncryptionTests {
        private static let records = ImportOracle.records(5_500)
        private static let upload = TestUpload(Self.records.joined(separator: "\n"), "flow_id=f&file_name=hosts.ndjson")

        /// Expects that the hub reads the import as it reads any other; with a context, only the whole document.
        private static func expectReadable(_ hub: HubProcess, _ id: String, _ context: String = "") async throws {
            #expect(try await hub.get(id, "/data").body == ImportOracle.document(Self.records), "\(context)")
            guard context.isEmpty else { return }
            let compressed = try await hub.get(id, "/data", [("Accept-Encoding", "gzip")])
            #expect(compressed.status == 200, "\(context): \(compressed.text.prefix(300))")
            #expect(
                try await ImportOracle.read(compressed.body).contentHash
                    == StoredImport(try await hub.get(id).json)?.contentHash, "\(context)")
            for offset in [0, 4_700, 5_480] {
                #expect(
                    try await hub.records(id, from: offset, limit: 40)
                        == Array(Self.records[offset..<min(offset + 40, 5_500)]), "\(context)")
            }
            #expect(
                try await hub.get(id, "/sample").json.member("records")?.elements.map(\.string) == Array(Self.records[..<100]),
                "\(context)")
            #expect(try await hub.get(id, "/schema").json.member("total_records")?.intValue == 5_500, "\(context)")
        }

        private static func verify(_ hub: HubProcess, _ environment: [String: String] = [:]) async throws -> String {
            let verified = try await hub.command(["imports", "verify"], adding: environment)
            return "\(verified.exit) \(verified.output) \(verified.errors)"
        }

        @Test func foreignProgramDecryptsWhatIsStoredAndNothingElseHasIt() async {
            await concurrently(ImportTopology.allCases, self.foreignProgramDecryptsWhatIsStoredAndNothingElseHasIt(_:))
        }

        private func foreignProgramDecryptsWhatIsStoredAndNothingElseHasIt(_ topology: ImportTopology) async throws {
            try await ImportKeyFixture.running([ImportKeyFixture.line("new")]) { keys in
                try await ImportClusterFixture.running(topology, keys.environment) { cluster in
                    let entry = try await cluster.hub.store(Self.upload)
                    #expect(entry.json.member("encryption_key")?.stringValue == "new")
                    try await Self.expectReadable(cluster.hub, entry.id)
                    let account = try await cluster.query("SELECT account FROM data_imports")
                    let description = try await cluster.query("SELECT encryption FROM data_imports")
                    let order = topology == .embedded ? "place" : "record_index"
                    let rows = try await cluster.query("SELECT raw_text FROM raw_import_records ORDER BY \(order)")
                    let decrypted = try await keys.decrypt(
                        rows: rows, description: description, id: entry.id, account: account, isSample: topology.hasObjects)
                    #expect(decrypted == (topology.hasObjects ? Array(Self.records[..<10]) : Self.records))
                    #expect(!rows.contains("example.org"))
                    if let location = entry.location {
                        let object = try #require(try await cluster.object(location))
                        #expect(object.count == entry.number("size_bytes"))
                        #expect(try await keys.decrypt(object, key: location) == ImportOracle.document(Self.records))
                        #expect(TestDigest.sha256(object) == entry.dataHash)
                        // The legacy service's reader does not take it for records.
                        #expect(try await keys.legacyReaderError(object).contains("Not a gzipped file"))
                    }
                    if cluster.database != nil {
                        #expect(
                            try await cluster.query(
                                "SELECT count(*) FROM raw_import_records WHERE raw_data::text LIKE '%example.org%'") == "0")
                        // What the legacy service's migration script copies can be decrypted.
                        let copied = try await cluster.query("SELECT raw_data FROM raw_import_records ORDER BY record_index")
                        #expect(copied == rows)
                    }
                    // Neither a cache nor an event has a record, and there is no link to bytes that a client cannot read.
                    if topology == .r2 {
                        let redis = try SharedRedis.server
                        let cached = try await redis.command(["--scan", "--pattern", "*\(entry.id)*"])
                        #expect(cached.isEmpty, "\(cached)")
                    }
                    let history = try await cluster.hub.api.history(of: "f")
                    #expect(history?.events.isEmpty == false)
                    #expect(history?.events.contains { $0.string.contains("example.org") } == false)
                    if topology.hasObjects {
                        let link = try await cluster.hub.get(entry.id, "/download")
                        #expect(link.status == 409)
                        #expect(link.problemCode == "import_encrypted", "\(link.text)")
                    }
                    #expect(!cluster.hub.log.contains(ImportKeyFixture.keys["new"] ?? "-"))
                    #expect(try await cluster.hub.api.metric("flowhub_imports_encrypted_total") == 1)
                    // The command, with its own checks.
                    let folder = try TemporaryFolder()
                    defer { folder.remove() }
                    for options in [["--output", folder.path + "/a"], ["--output", folder.path + "/b", "--raw"]]
                    where topology.hasObjects || !options.contains("--raw") {
                        let fetched = try await cluster.hub.command(
                            ["import", "get", entry.id] + options, adding: ["FLOWHUB_URL": "http://127.0.0.1:\(cluster.hub.port)"]
                        )
                        #expect(fetched.exit == .code(0), "\(fetched)")
                    }
                }
            }
        }

        @Test(arguments: TestScale.pick([ImportTopology.r2], full: ImportTopology.withObjects))
        func keysAreRotatedWithoutRestartAndCommandsWorkOnAllImports(_ topology: ImportTopology) async throws {
            try await ImportKeyFixture.running([ImportKeyFixture.line("old")]) { keys in
                try await ImportClusterFixture.running(topology, keys.environment) { cluster in
                    let hub = cluster.hub
                    let first = try await hub.store(Self.upload)
                    // The new key encrypts; the old one is still there.
                    try keys.write([ImportKeyFixture.line("new"), ImportKeyFixture.line("old")])
                    hub.send(SIGHUP)
                    try await eventually("the new key") { hub.log.contains("Reloaded import keys") }
                    let second = try await hub.store(Self.upload)
                    #expect(second.json.member("encryption_key")?.stringValue == "new")
                    // A broken file changes nothing.
                    try keys.write(["new short"])
                    hub.send(SIGHUP)
                    try await eventually("the report") { hub.log.contains("Cannot reload FLOWHUB_IMPORT_KEYS") }
                    try await Self.expectReadable(hub, first.id, "after the broken file")
                    try keys.write([ImportKeyFixture.line("new"), ImportKeyFixture.line("old")])
                    // One import in plain text beside them.
                    let plain = ["FLOWHUB_IMPORT_KEYS": ""]
                    try await hub.kill()
                    try await hub.start(adding: plain)
                    let refused = try await hub.get(first.id, "/records")
                    #expect(refused.status == 503 && refused.problemCode == "import_key_missing", "\(refused.text)")
                    #expect(refused.text.contains("import key old"), "\(refused.text)")
                    let third = try await hub.store(Self.upload)
                    #expect(third.json.member("encryption_key") == nil)
                    try await hub.kill()
                    try await hub.start(adding: keys.environment)
                    #expect(try await Self.verify(hub).contains("3 imports read, 0 of them damaged."))

                    // Rows and back, then everything under the new key.
                    for target in ["postgres", "r2"] {
                        let moved = try await hub.command(["imports", "move", "--to", target, first.id])
                        #expect(moved.exit == .code(0), "\(moved)")
                        try await Self.expectReadable(hub, first.id, "moved to \(target)")
                        let key = try await hub.get(first.id).json.member("encryption_key")?.stringValue
                        #expect(key == "new")
                    }
                    let dry = try await hub.command(["imports", "encrypt", "--dry-run"])
                    #expect(dry.errors.contains("1 imports with 5,500 records would be written anew."), "\(dry)")
                    let encrypted = try await hub.command(["imports", "encrypt"])
                    #expect(encrypted.exit == .code(0) && encrypted.errors.contains("1 imports with 5,500 records written anew."))
                    #expect(try await hub.command(["imports", "encrypt"]).errors.contains("0 imports with 0 records"))
                    try keys.write([ImportKeyFixture.line("new")])
                    hub.send(SIGHUP)
                    try await eventually("the old key to be gone") { hub.log.contains("keys=1") }
                    try await Self.expectReadable(hub, third.id)
                    for entry in [first, second, third] {
                        try await Self.expectReadable(hub, entry.id, "under the new key")
                        #expect(try await hub.get(entry.id).json.member("encryption_key")?.stringValue == "new")
                    }
                    #expect(try await Self.verify(hub).contains("3 imports read, 0 of them damaged."))
                    try await eventually("nothing to sweep") {
                        let sweep = try await hub.command(["imports", "sweep", "--older-than", "0s"])
                        #expect(sweep.exit == .code(0), "\(sweep)")
                        let keys = try await cluster.keys()
                        return keys.count == 3
                    }
                    #expect(try await cluster.rowCount() == 30)
                    // The archive has no record in plain text either.
                    let folder = try TemporaryFolder()
                    defer { folder.remove() }
                    let exported = try await hub.command(["imports", "export", folder.path + "/archive"])
                    #expect(exported.exit == .code(0), "\(exported)")
                    let lost = try await hub.command(["imports", "verify", first.id], adding: plain)
                    #expect(lost.exit == .code(1) && lost.output.contains("import key new"), "\(lost)")
                    for entry in [first, second, third] {
                        #expect(try await hub.call("DELETE", "/v1/imports/\(entry.id)").status == 204)
                    }
                    try await cluster.waitUntilNothingIsLeft()
                    let restored = try await hub.command(["imports", "import", folder.path + "/archive"])
                    #expect(restored.exit == .code(0), "\(restored)")
                    for entry in [first, second, third] { try await Self.expectReadable(hub, entry.id, "restored") }
                }
            }
        }

        @Test func killedWorkersLeaveEncryptedImportsWhole() async throws {
            try await ImportKeyFixture.running([ImportKeyFixture.line("old")]) { keys in
                try await ImportClusterFixture.running(.embedded, keys.environment) { cluster in
                    let hub = cluster.hub
                    for (point, isStored) in [("importUploaded", false), ("importStored", true)] {
                        try await hub.kill()
                        try await hub.start(adding: ["FLOWHUB_FAILPOINT": point, "FLOWHUB_IMPORT_CLAIM_SECONDS": "4"])
                        let call = HTTPCall("POST", "/v1/imports?flow_id=f", headers: [], body: Self.upload.body)
                        await #expect(throws: AnswerLost.self) { try await HTTPCaller(port: hub.port).perform(call) }
                        _ = try await hub.waitForExit()
                        try await cluster.expireClaims()
                        try await hub.start(adding: ["FLOWHUB_FAILPOINT": ""])
                        try await eventually("the import to be settled", within: .seconds(20)) {
                            try await hub.api.call("GET", "/v1/imports?status=pending").json.member("imports")?.elements.isEmpty
                                == true
                        }
                        #expect(try await cluster.keys().count == (isStored ? 1 : 0))
                    }
                    let list = try await hub.api.call("GET", "/v1/imports?status=stored")
                    let id = try #require(list.json.member("imports")?.elements.first?.member("id")?.stringValue)
                    try await Self.expectReadable(hub, id, "after the kill")
                    // A rewrite that is killed at any step is completed by the next one.
                    for (number, point) in [Failpoint.moveCopied, .moveVerified, .moveCommitted].enumerated() {
                        let names = number % 2 == 0 ? ["new", "old"] : ["old", "new"]
                        try keys.write(names.map { ImportKeyFixture.line($0) })
                        let killed = try await hub.command(["imports", "encrypt"], adding: ["FLOWHUB_FAILPOINT": point.rawValue])
                        #expect(killed.exit == .signal(SIGKILL), "\(point): \(killed)")
                        #expect(try await Self.verify(hub).contains("1 imports read, 0 of them damaged."), "\(point)")
                        try await cluster.expireClaims()
                        let again = try await hub.command(["imports", "encrypt"])
                        #expect(again.exit == .code(0), "\(point): \(again)")
                        let sweep = try await hub.command(["imports", "sweep", "--older-than", "0s"])
                        #expect(sweep.exit == .code(0), "\(point): \(sweep)")
                        #expect(try await cluster.keys().count == 1, "\(point)")
                        #expect(try await hub.get(id).json.member("encryption_key")?.stringValue == names[0])
                        #expect(try await Self.verify(hub).contains("1 imports read, 0 of them damaged."), "\(point)")
                    }
                }
            }
        }

        @Test(arguments: [ImportTopology.embedded, .rows])
        func doctorChecksTheFileAndEachKeyOfTheLedger(_ topology: ImportTopology) async throws {
            try await ImportKeyFixture.running([ImportKeyFixture.line("old")]) { keys in
                try await ImportClusterFixture.running(topology, keys.environment) { cluster in
                    func doctor(_ environment: [String: String] = [:]) async throws -> [String] {
                        let answer = try await cluster.hub.command(["doctor", "--json"], adding: environment)
                        let findings = try JSONText(validating: answer.output.utf8).elements
                        #expect(!answer.output.contains(ImportKeyFixture.keys["old"] ?? "-"))
                        return findings.filter { $0.member("subject")?.stringValue == "import keys" }.map { finding in
                            ["level", "text", "advice"].compactMap { finding.member($0)?.stringValue }.joined(separator: " ")
                        }
                    }
                    _ = try await cluster.hub.store(TestUpload("[1]"))
                    #expect(try await doctor() == ["ok 1 keys; new imports are encrypted with old"])
                    try keys.write([ImportKeyFixture.line("old")], mode: 0o644)
                    #expect(
                        try await doctor().contains { $0.hasPrefix("warning other users may read") && $0.contains("chmod 600") })
                    try keys.write([ImportKeyFixture.line("new")])
                    #expect(try await doctor().contains { $0.hasPrefix("failure") && $0.contains("import key old") })
                    try keys.write(["old " + (ImportKeyFixture.keys["new"] ?? "")])
                    #expect(try await doctor().contains { $0.hasPrefix("failure") && $0.contains("differs") })
                    #expect(
                        try await doctor(["FLOWHUB_IMPORT_KEYS": ""]).contains {
                            $0.hasPrefix("failure") && $0.contains("import key old")
                        })
                    try keys.write([ImportKeyFixture.line("old"), ImportKeyFixture.line("old")])
                    #expect(
                        try await doctor().contains {
                            $0.hasPrefix("failure") && $0.contains("line 2: another line has the name old")
                        })
                    let served = try await cluster.hub.command(["serve", "--port", "0"])
                    #expect(served.exit != .code(0) && served.errors.contains("FLOWHUB_IMPORT_KEYS"), "\(served)")
                    #expect(!served.errors.contains(ImportKeyFixture.keys["old"] ?? "-"))
                }
            }
        }

        @Test func samplesInRedisAreSwitchedOffAlone() async throws {
            try await ImportClusterFixture.running(.r2, ["FLOWHUB_REDIS_SAMPLES": "false"]) { cluster in
                let entry = try await cluster.hub.store(TestUpload("[{\"a\":1}]"))
                #expect(try await cluster.hub.get(entry.id, "/sample").status == 200)
                #expect(try await cluster.hub.get(entry.id, "/schema").status == 200)
                let redis = try SharedRedis.server
                try await eventually("the analysis in Redis") {
                    try await redis.command(["EXISTS", "schema:analysis:\(entry.id)"]) == "1"
                }
                #expect(try await redis.command(["EXISTS", "import:sample:\(entry.id)"]) == "0")
            }
        }
    }
}
