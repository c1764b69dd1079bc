import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// `flowhub imports verify` and `sweep`.
    @Suite struct ImportMaintenanceTests {
        @Test func verifyReportsDamagedAndMissingObjects() async {
            await concurrently(ImportTopology.withObjects, self.verifyReportsDamagedAndMissingObjects(_:))
        }

        private func verifyReportsDamagedAndMissingObjects(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                let records = ImportOracle.records(2_000)
                var entries: [StoredImport] = []
                for _ in 0..<5 { entries.append(try await cluster.hub.store(TestUpload(records.joined(separator: "\n")))) }
                let keys = try entries.map { try #require($0.location) }
                let good = try #require(try await cluster.object(keys[0]))
                // One byte changed; truncated to half; the same records compressed differently; deleted.
                var damaged = good
                damaged[good.count / 2] ^= 0x10
                try await cluster.overwrite(keys[1], damaged)
                try await cluster.overwrite(keys[2], Array(good.prefix(good.count / 2)))
                let recompressed = try await ImportOracle.gzip([ImportOracle.document(records)], level: 1)
                try await cluster.overwrite(keys[3], recompressed)
                try await cluster.overwrite(keys[4], nil)
                let verified = try await cluster.hub.command(["imports", "verify"])
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
                #expect(try await cluster.hub.command(["imports", "verify", entries[0].id]).exit == .code(0))

                // Damaged imports are not returned as complete, and are not moved.
                for (entry, code) in [(entries[1], 500), (entries[4], 500)] {
                    let reply = try await cluster.hub.get(entry.id, "/records?offset=0&limit=1000")
                    #expect(reply.status == code && reply.problemCode == "import_damaged", "\(reply.text)")
                }
                let moved = try await cluster.hub.command(["imports", "move", "--to", "postgres"])
                #expect(moved.exit == .code(1), "\(moved)")
                #expect(moved.errors.contains("4 imports could not be moved. They are unchanged."), "\(moved)")
                #expect(try await cluster.hub.get(entries[0].id, "/data").body == ImportOracle.document(records))
                // A response that has begun can report the damage only by ending early.
                for entry in entries[1...3] {
                    await #expect(throws: AnswerLost.self) { try await cluster.hub.get(entry.id, "/data") }
                }
                #expect(try await cluster.rowCount() == records.count + 4 * 10)
            }
        }

        @Test func sweepRemovesOnlyUnreferencedObjects() async {
            await concurrently(ImportTopology.withObjects, self.sweepRemovesOnlyUnreferencedObjects(_:))
        }

        private func sweepRemovesOnlyUnreferencedObjects(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology) { cluster in
                let entry = try await cluster.hub.store(TestUpload("[1]"))
                let missing = try await cluster.hub.store(TestUpload("[2]"))
                let location = try #require(entry.location)
                let orphans = [
                    location.replacing("raw_data", with: "raw_data.2"),
                    "imports/0/2024/01/01/00000000-0000-4000-8000-00000000000a/raw_data.json.gz", "imports/x",
                    "health-check/gone/1",
                ]
                for key in orphans + ["other/a"] { try await cluster.overwrite(key, [1]) }
                let named = orphans + (cluster.bucket == nil ? [] : ["imports/0/a"])
                if let bucket = cluster.bucket {
                    _ = try await bucket.beginUpload("imports/0/a")
                    _ = try await bucket.beginUpload("other/b")
                }
                let young = try await cluster.hub.command(["imports", "sweep"])
                #expect(young.exit == .code(0) && young.output.isEmpty, "\(young)")
                let before = try await cluster.keys()
                // The S3 server rounds times up to whole seconds, so the orphans are not old enough at first.
                var dry = try await cluster.hub.command(["imports", "sweep", "--older-than", "0s", "--dry-run"])
                try await eventually("the report to contain all orphans") {
                    if named.allSatisfy({ dry.output.contains("\($0)  ") }) { return true }
                    dry = try await cluster.hub.command(["imports", "sweep", "--older-than", "0s", "--dry-run"])
                    return false
                }
                #expect(dry.exit == .code(0), "\(dry)")
                #expect(!dry.output.contains(location + " ") && dry.output.contains("would be removed"))
                #expect(try await cluster.keys() == before)

                try await cluster.overwrite(#require(missing.location), nil)
                let swept = try await cluster.hub.command(["imports", "sweep", "--older-than", "0s"])
                #expect(
                    swept.exit == .code(1) && swept.output.contains("\(missing.id)  the object of this import is missing"),
                    "\(swept)")
                #expect(try await cluster.keys() == [location, "other/a"].sorted())
                #expect(try await cluster.bucket?.uploads().map(\.key) ?? ["other/b"] == ["other/b"])
                #expect(try await cluster.hub.get(entry.id, "/data").text == "[\n1\n]\n")
                #expect(try await cluster.hub.get(missing.id).status == 200)
                #expect(try await cluster.hub.command(["imports", "sweep", "--older-than", "1x"]).exit == .code(2))
            }
        }
    }
}
