import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// `R2_ENABLED` and `FLOWHUB_R2_SHARE`, which decide where new imports go.
    @Suite struct ImportSwitchTests {
        private static func provider(_ hub: HubProcess, _ id: String) async throws -> String? {
            StoredImport(try await hub.get(id).json)?.provider
        }

        private static func r2(_ hub: HubProcess) async throws -> JSONText? {
            try await hub.call("GET", "/health/storage").json.member("services")?.member("r2")
        }

        @Test func instancesSwitchR2OffOneByOneAndBack() async throws {
            try await ImportClusterFixture.running(.r2, hubs: 2, ["FLOWHUB_STORAGE_HEALTH_SECONDS": "1"]) { cluster in
                let (kept, switched) = (cluster.hub, cluster.other)
                let records = ImportOracle.records(300)
                let document = ImportOracle.document(records)
                let upload = TestUpload(records.joined(separator: "\n"))
                let objects = [try await kept.store(upload), try await kept.store(upload), try await kept.store(upload)]
                try await switched.terminate()
                try await switched.start(adding: ["R2_ENABLED": "false"])

                // New imports of this instance are rows. Each instance reads both kinds.
                let row = try await switched.store(upload)
                #expect(row.provider == "postgres" && row.location == nil)
                #expect(try await kept.store(upload).provider == "r2")
                for hub in cluster.hubs {
                    for entry in [objects[0], row] {
                        #expect(try await hub.get(entry.id, "/data").body == document)
                        #expect(try await hub.records(entry.id, from: 290) == Array(records[290...]))
                        #expect(try await hub.get(entry.id, "/schema").status == 200)
                    }
                }
                #expect(try await Self.r2(kept)?.member("share")?.intValue == 100)
                let health = try #require(try await Self.r2(switched))
                #expect(health.member("provider")?.stringValue == "r2" && health.member("share")?.intValue == 0)
                #expect(health.member("status")?.stringValue == "healthy")
                #expect(try await switched.api.metric("flowhub_stored_imports_total{storage=\"rows\"}") == 1)
                #expect(try await switched.api.metric("flowhub_stored_imports_total{storage=\"object\"}") == 0)
                let doctor = try await switched.command(["doctor"])
                #expect(doctor.exit == .code(0) && doctor.output.contains("New imports are stored as database rows"), "\(doctor)")

                // With the settings of this instance, imports in R2 are verified, moved to rows and deleted, and none is moved to R2.
                let verified = try await switched.command(["imports", "verify"])
                #expect(verified.exit == .code(0) && verified.errors.contains("5 imports read, 0"), "\(verified)")
                let refused = try await switched.command(["imports", "move", "--to", "r2"])
                #expect(refused.exit == .code(2) && refused.errors.contains("R2_ENABLED is false"), "\(refused)")
                #expect(try await switched.command(["imports", "move", "--to", "postgres", objects[0].id]).exit == .code(0))
                #expect(try await Self.provider(kept, objects[0].id) == "postgres")
                #expect(try await kept.get(objects[0].id, "/data").body == document)
                #expect(try await switched.call("DELETE", "/v1/imports/\(objects[1].id)").status == 204)
                #expect(try await !cluster.keys().contains(#require(objects[1].location)))

                // And back.
                try await switched.terminate()
                try await switched.start(adding: ["R2_ENABLED": "true"])
                #expect(try await switched.store(upload).provider == "r2")
                #expect(try await switched.get(row.id, "/data").body == document)
                let moved = try await switched.command(["imports", "move", "--to", "r2"])
                #expect(moved.exit == .code(0) && moved.errors.contains("2 imports with 600 records moved."), "\(moved)")
                #expect(try await kept.get(row.id, "/data").body == document)
                #expect(try await switched.command(["imports", "verify"]).exit == .code(0))
                #expect(try await cluster.rowCount() == 5 * 10)
            }
        }

        /// The operator may switch R2 off because its settings or its credentials are lost.
        @Test func hubStartsWithR2SwitchedOffAlthoughItsSettingsAreInvalid() async throws {
            let settings = ["R2_ENABLED": "false", "R2_BUCKET_NAME": "b"]
            try await HubProcess.running(settings) { hub in
                #expect(hub.log.contains("R2 settings cannot be used, so imports in R2 cannot be read"))
                let entry = try await hub.store(TestUpload("[1]"))
                #expect(entry.provider == "sqlite" && entry.location == nil)
                let doctor = try await hub.command(["doctor"])
                #expect(
                    doctor.output.contains("R2_ENABLED is false and the R2 settings cannot be used: R2_ACCOUNT_ID"), "\(doctor)")
                let on = try await hub.command(["doctor"], adding: ["R2_ENABLED": "true"])
                #expect(on.exit == .code(2) && on.errors.contains("R2_ACCOUNT_ID"), "\(on)")
            }
        }

        /// The embedded store, whose objects are in a folder.
        @Test func shareOfNewImportsBecomesObjectsAndAllStayReadable() async throws {
            try await HubProcess.running(["FLOWHUB_R2_SHARE": "0"]) { hub in
                var entries = [try await hub.store(TestUpload("[1]"))]
                #expect(entries[0].provider == "sqlite")
                for share in ["100", "50"] {
                    try await hub.terminate()
                    try await hub.start(adding: ["FLOWHUB_R2_SHARE": share])
                    #expect(try await Self.r2(hub)?.member("share")?.intValue.map { String($0) } == share)
                    for _ in 0..<8 { entries.append(try await hub.store(TestUpload("[1]"))) }
                }
                #expect(entries[1...8].allSatisfy { $0.provider == "folder" })
                try await hub.terminate()
                try await hub.start(adding: ["R2_ENABLED": "false", "FLOWHUB_R2_SHARE": "100"])
                entries.append(try await hub.store(TestUpload("[1]")))
                #expect(entries.last?.provider == "sqlite")
                for entry in entries { #expect(try await hub.get(entry.id, "/data").text == "[\n1\n]\n") }
                let verified = try await hub.command(["imports", "verify"])
                #expect(verified.exit == .code(0) && verified.errors.contains("18 imports read, 0"), "\(verified)")
                #expect(try await hub.command(["imports", "move", "--to", "postgres"]).exit == .code(0))
                for entry in entries { #expect(try await Self.provider(hub, entry.id) == "sqlite") }
            }
        }
    }
}
