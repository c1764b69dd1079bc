import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// `flowhub imports verify` and `sweep`.
    @Suite struct ImportMaintenanceTests {
        @Test("verify names what is damaged, missing or other than the ledger says", arguments: ImportTopology.withObjects)
        func verify(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp) { stage in
                let records = ImportOracle.records(2_000)
                var entries: [StoredImport] = []
                for _ in 0..<5 { entries.append(try await stage.hub.store(TestUpload(records.joined(separator: "\n")))) }
                let keys = try entries.map { try #require($0.location) }
                let good = try #require(try await stage.object(keys[0]))
                // A byte in the middle is another; half of it; the same records packed otherwise; gone.
                var damaged = good
                damaged[good.count / 2] ^= 0x10
                try await stage.overwrite(keys[1], damaged)
                try await stage.overwrite(keys[2], Array(good.prefix(good.count / 2)))
                let repacked = try await ImportOracle.gzip([ImportOracle.document(records)], level: 1)
                try await stage.overwrite(keys[3], repacked)
                try await stage.overwrite(keys[4], nil)
                let verified = try await stage.hub.command(["imports", "verify"])
                #expect(verified.exit == .code(1), "\(verified)")
                #expect(verified.errors.contains("5 imports read, 4 of them damaged."), "\(verified)")
                func lines(_ number: Int) -> String {
                    verified.output.split(separator: "\n").filter { $0.hasPrefix(entries[number].id) }.joined(separator: "\n")
                }
                #expect(lines(0).isEmpty)
                #expect(!lines(1).isEmpty)
                #expect(lines(2).contains("bytes instead of"))
                #expect(lines(3).contains("data_hash") && !lines(3).contains("content_hash"))
                #expect(lines(4).contains("the object is missing"))
                #expect(try await stage.hub.command(["imports", "verify", entries[0].id]).exit == .code(0))

                // None of them is handed out as if nothing were, and none is moved.
                for (entry, code) in [(entries[1], 500), (entries[4], 500)] {
                    let reply = try await stage.hub.get(entry.id, "/records?offset=0&limit=1000")
                    #expect(reply.status == code && reply.problemCode == "import_damaged", "\(reply.text)")
                }
                let moved = try await stage.hub.command(["imports", "move", "--to", "postgres"])
                #expect(moved.exit == .code(1), "\(moved)")
                #expect(moved.errors.contains("4 imports could not be moved. They are as they were."), "\(moved)")
                #expect(try await stage.hub.get(entries[0].id, "/data").body == ImportOracle.document(records))
                // An answer that has begun can say no more than that it ends too early.
                for entry in entries[1...3] {
                    await #expect(throws: AnswerLost.self) { try await stage.hub.get(entry.id, "/data") }
                }
                #expect(try await stage.rowCount() == records.count + 4 * 10)
            }
        }

        @Test("sweep removes what nobody names, and nothing else", arguments: ImportTopology.withObjects)
        func sweep(_ setUp: ImportTopology) async throws {
            try await ImportClusterFixture.running(setUp) { stage in
                let entry = try await stage.hub.store(TestUpload("[1]"))
                let missing = try await stage.hub.store(TestUpload("[2]"))
                let location = try #require(entry.location)
                let orphans = [
                    location.replacing("raw_data", with: "raw_data.2"),
                    "imports/0/2024/01/01/00000000-0000-4000-8000-00000000000a/raw_data.json.gz", "imports/x",
                    "health-check/gone/1",
                ]
                for key in orphans + ["other/a"] { try await stage.overwrite(key, [1]) }
                let named = orphans + (stage.bucket == nil ? [] : ["imports/0/a"])
                if let bucket = stage.bucket {
                    _ = try await bucket.beginUpload("imports/0/a")
                    _ = try await bucket.beginUpload("other/b")
                }
                let young = try await stage.hub.command(["imports", "sweep"])
                #expect(young.exit == .code(0) && young.output.isEmpty, "\(young)")
                let before = try await stage.keys()
                // The S3 server has times in whole seconds, rounded up.
                var dry = try await stage.hub.command(["imports", "sweep", "--older-than", "0s", "--dry-run"])
                try await eventually("all of them to be named") {
                    if named.allSatisfy({ dry.output.contains("\($0)  ") }) { return true }
                    dry = try await stage.hub.command(["imports", "sweep", "--older-than", "0s", "--dry-run"])
                    return false
                }
                #expect(dry.exit == .code(0), "\(dry)")
                #expect(!dry.output.contains(location + " ") && dry.output.contains("would be removed"))
                #expect(try await stage.keys() == before)

                try await stage.overwrite(#require(missing.location), nil)
                let swept = try await stage.hub.command(["imports", "sweep", "--older-than", "0s"])
                #expect(swept.exit == .code(1) && swept.output.contains("\(missing.id)  its object is missing"), "\(swept)")
                #expect(try await stage.keys() == [location, "other/a"].sorted())
                #expect(try await stage.bucket?.uploads().map(\.key) ?? ["other/b"] == ["other/b"])
                #expect(try await stage.hub.get(entry.id, "/data").text == "[\n1\n]\n")
                #expect(try await stage.hub.get(missing.id).status == 200)
                #expect(try await stage.hub.command(["imports", "sweep", "--older-than", "1x"]).exit == .code(2))
            }
        }
    }
}
