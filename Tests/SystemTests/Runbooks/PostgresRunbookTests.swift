import FlowCore
import FlowTestKit
import Foundation
import Glibc
import Testing

/// The runbooks of Postgres and R2, on real servers.
@Suite(.serialized, .postgres(), .s3()) struct PostgresRunbookTests {
    private static func administrator(_ server: PostgresServer, _ database: String = "postgres") -> [String: String] {
        ["PGHOST": "127.0.0.1", "PGPORT": "\(server.port)", "PGUSER": PostgresServer.user, "PGDATABASE": database]
    }

    /// The URL of a database as the user that `postgres-create.sql` creates.
    private static func url(_ server: PostgresServer, _ database: String) -> String {
        "postgres://hub@127.0.0.1:\(server.port)/\(database)"
    }

    private static func objects(_ bucket: S3Bucket) throws -> [String: String] {
        [
            "R2_ENDPOINT": try SharedS3.server.endpoint, "R2_BUCKET_NAME": bucket.name, "R2_ACCESS_KEY_ID": S3Server.accessKey,
            "R2_SECRET_ACCESS_KEY": S3Server.secretKey,
        ]
    }

    /// Writes settings as a file for a shell.
    private static func write(_ settings: [String: String], to path: String) throws -> String {
        let lines = settings.sorted { $0.key < $1.key }.map { "\($0.key)='\($0.value)'\n" }
        try lines.joined().write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    @Test func databaseIsCreatedBackedUpAndRestoredUnderRunningHub() async throws {
        let server = try SharedPostgres.server
        let admin = Self.administrator(server)
        _ = try await Runbook.postgresCreate.succeed(admin)
        let bucket = try await SharedS3.bucket()
        var settings = try Self.objects(bucket)
        settings["DATABASE_URL"] = Self.url(server, "hub")
        try await HubProcess.running(settings) { hub in
            try await HubContents.fill(hub)
            let before = try await HubContents.read(hub)
            let backup = hub.folder.path + "/hub.dump"
            _ = try await Runbook.postgresBackup.succeed(["BACKUP": backup, "DATABASE_URL": Self.url(server, "hub")])
            let lost = try await hub.store(TestUpload("[1]"))
            _ = try await hub.api.patch("job", try jsonText(#"{"n":3}"#))
            let watcher = EventStreamClient(.flow("job"), port: hub.port)
            try await watcher.connect()
            _ = try await watcher.next(event: "caught_up")

            let restored = ["BACKUP": backup, "RESTORED_URL": Self.url(server, "hub_new")]
            _ = try await Runbook.postgresRestore.succeed(admin.merging(restored) { $1 })
            #expect(
                try await server.query(
                    "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'hub_new'", in: "postgres") == "hub")
            // The hub's user can migrate later.
            try await server.query("SET ROLE hub; CREATE TABLE later (n int); DROP TABLE later", in: "hub_new")
            _ = try await Runbook.postgresSwitch.succeed(admin)
            let resync = try await watcher.next(event: "resync")
            #expect(resync.json.member("reason")?.stringValue == "epoch")
            #expect(
                try await watcher.next(event: "snapshot").json.member("version")?.intValue.map { "\($0)" }
                    == before.flows["job"]?[0])
            let after = try await HubContents.read(hub)
            #expect(after == before)
            #expect(after.tags["job"] != before.tags["job"])
            // The object of the import that the copy does not know is found by the sweep.
            let sweep = try await hub.command(["imports", "sweep", "--dry-run", "--older-than", "0s"])
            #expect(sweep.output.contains(try #require(lost.location)), "\(sweep)")
            #expect(try await hub.command(["imports", "verify"]).exit == .code(0))
            #expect(try await hub.command(["doctor"]).exit == .code(0))
        }
        for database in ["hub", "hub_old"] { try await server.query("DROP DATABASE \(database) WITH (FORCE)", in: "postgres") }

        // A schema of another user: the grants suffice for everything that a hub does.
        try await server.query("CREATE DATABASE hub", in: "postgres")
        #expect(try await SettingsTests.run(["migrate"], ["DATABASE_URL": server.url("hub")]).exit == .code(0))
        _ = try await Runbook.postgresGrants.succeed(Self.administrator(server, "hub"))
        settings["FLOWHUB_MIGRATE"] = "false"
        settings["R2_ENABLED"] = "false"
        try await HubProcess.running(settings) { hub in
            try await HubContents.fill(hub)
            #expect(try await HubContents.read(hub).imports.count == 5)
            #expect(try await hub.call("POST", "/v1/locks/r", body: "{}").status == 201)
            #expect(try await hub.command(["imports", "verify"]).exit == .code(0))
            #expect(try await hub.api.isReady())
        }
        try await server.query("DROP DATABASE hub WITH (FORCE)", in: "postgres")
        try await server.query("DROP ROLE hub", in: "postgres")
    }

    @Test func everythingMovesFromSQLiteToPostgresAndBack() async {
        await concurrently([true, false], self.everythingMovesFromSQLiteToPostgresAndBack(_:))
    }

    private func everythingMovesFromSQLiteToPostgresAndBack(_ usesR2: Bool) async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        var settings = usesR2 ? try Self.objects(try await SharedS3.bucket()) : ["R2_ENABLED": "false"]
        settings["DATABASE_URL"] = server.url(database)
        settings["FLOWHUB_IMPORT_CLAIM_SECONDS"] = "4"
        try await HubProcess.running(["FLOWHUB_IMPORT_CLAIM_SECONDS": "4"]) { hub in
            try await HubContents.fill(hub)
            let before = try await HubContents.read(hub)
            #expect(try await hub.terminate() == .code(0))
            let export = hub.folder.path + "/export"
            try FileManager.default.createDirectory(atPath: export, withIntermediateDirectories: true)
            let forgotten = try await hub.command(["flows", "export"])
            #expect(forgotten.exit == .code(1) && forgotten.errors.contains("flowhub imports export"), "\(forgotten)")
            let environment = [
                "EXPORT": export, "OLD_ENV": try Self.write(["FLOWHUB_DATA": hub.dataFolder], to: export + "/old.env"),
                "NEW_ENV": try Self.write(settings, to: export + "/new.env"),
            ]
            let first = try await Runbook.sqliteToPostgres.succeed(environment)
            #expect(first.contains("5 imports exported (1 of them failed ones) with 3,006 records."), "\(first)")
            #expect(first.contains("5 imports with 3,006 records imported, 0 already existed"), "\(first)")
            let second = try await Runbook.sqliteToPostgres.succeed(environment)
            #expect(second.contains("0 imports with 0 records imported, 5 already existed"), "\(second)")
            let moved = try await HubProcess.running(settings) { moved in
                #expect(try await HubContents.read(moved) == before)
                try await before.expectReplay(moved)
                // No import's event is published again.
                #expect(try await HubContents.read(moved).flows == before.flows)
                _ = try await moved.store(TestUpload("[{\"later\":1}]"))
                return try await HubContents.read(moved)
            }
            let back = hub.folder.path + "/back"
            try FileManager.default.createDirectory(atPath: back, withIntermediateDirectories: true)
            let returned = try await Runbook.postgresToSQLite.succeed([
                "EXPORT": back, "OLD_ENV": environment["NEW_ENV"] ?? "",
                "NEW_ENV": try Self.write(["FLOWHUB_DATA": back + "/data"], to: back + "/new.env"),
            ])
            #expect(returned.contains("6 imports with 3,007 records imported"), "\(returned)")
            try await hub.start(adding: ["FLOWHUB_DATA": back + "/data"])
            #expect(try await HubContents.read(hub) == moved)
            try await moved.expectReplay(hub)
        }
    }

    /// An import that is killed while it writes rows is invisible, and completed by the next run.
    @Test func interruptedImportOfImportsIsCompletedByNextRun() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let target = ["DATABASE_URL": server.url(database), "R2_ENABLED": "false", "FLOWHUB_IMPORT_CLAIM_SECONDS": "4"]
        #expect(try await SettingsTests.run(["migrate"], target).exit == .code(0))
        try await HubProcess.running { hub in
            let records = ImportOracle.records(5_000)
            let entry = try await hub.store(TestUpload(records.joined(separator: "\n")))
            let export = hub.folder.path + "/imports"
            #expect(try await hub.command(["imports", "export", export]).exit == .code(0))
            // The command waits at its first row for this lock.
            let holder = try Postgres.start(
                "psql",
                [
                    "-X", "-d", server.url(database), "-c",
                    "BEGIN; LOCK TABLE raw_import_records IN EXCLUSIVE MODE; SELECT pg_sleep(30)",
                ], folder: server.folder.path)
            let isLocked = "SELECT count(*) FROM pg_locks WHERE relation = 'raw_import_records'::regclass AND"
            try await eventually("the lock") { try await server.query("\(isLocked) granted", in: database) == "1" }
            let command = try hub.startCommand(["imports", "import", export], adding: target)
            try await eventually("the command to wait") { try await server.query("\(isLocked) NOT granted", in: database) != "0" }
            await command.destroy()
            await holder.destroy()
            try await server.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()",
                in: database)
            #expect(try await server.query("SELECT status FROM data_imports", in: database) == "deleting")
            // As time would.
            try await server.query("DELETE FROM hub_locks", in: database)
            let again = try await hub.command(["imports", "import", export], adding: target)
            #expect(again.exit == .code(0), "\(again)")
            try await HubProcess.running(target) { moved in
                let document = try await moved.get(entry.id, "/data").body
                #expect(document == ImportOracle.document(records))
                #expect(try await moved.command(["imports", "verify"]).exit == .code(0))
            }
        }
    }

    @Test func damagedImportStopsExportAndIsNamed() async throws {
        try await HubProcess.running { hub in
            let good = try await hub.store(TestUpload("[1]"))
            let bad = try await hub.store(TestUpload("[2]"))
            let object = hub.dataFolder + "/objects/stored/" + (bad.location ?? "")
            let bytes = try #require(FileManager.default.contents(atPath: object))
            try Data(bytes.dropLast() + [(bytes.last ?? 0) ^ 0xff]).write(to: URL(fileURLWithPath: object))
            let export = hub.folder.path + "/imports"
            let exported = try await hub.command(["imports", "export", export])
            #expect(exported.exit == .code(1) && exported.errors.contains("import \(bad.id) was not exported"), "\(exported)")
            #expect(exported.output.contains(good.id))
            let imported = try await hub.command(["imports", "import", export])
            #expect(imported.exit == .code(1) && imported.errors.contains("has no complete export"), "\(imported)")
        }
    }

    @Test func importsMoveToR2AndBackAndKeysRotateUnderRunningHub() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let bucket = try await SharedS3.bucket()
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let credentials = folder.path + "/r2.json"
        func keys(_ secret: String) -> String { #"{"access_key_id":"\#(S3Server.accessKey)","secret_access_key":"\#(secret)"}"# }
        try keys("old-secret").write(toFile: credentials, atomically: true, encoding: .utf8)
        let settings = [
            "DATABASE_URL": server.url(database), "R2_ENDPOINT": try SharedS3.server.endpoint, "R2_BUCKET_NAME": bucket.name,
            "FLOWHUB_R2_CREDENTIALS": credentials, "FLOWHUB_R2_RETRY_SECONDS": "1", "FLOWHUB_R2_ATTEMPTS": "1",
        ]
        try await HubProcess.running(settings) { hub in
            #expect(try await hub.send(TestUpload("[1]")).status >= 500)
            let new = folder.path + "/new.json"
            try keys(S3Server.secretKey).write(toFile: new, atomically: true, encoding: .utf8)
            _ = try await Runbook.rotateR2Keys.succeed(["NEW_CREDENTIALS": new, "FLOWHUB_R2_CREDENTIALS": credentials])
            try await eventually("the hub to use the new keys") { try await hub.send(TestUpload("[1]")).status == 201 }
            try await HubContents.fill(hub)
            let before = try await HubContents.read(hub)
            _ = try await Runbook.importsToPostgres.succeed(settings)
            #expect(try await bucket.objects(prefix: "imports/").isEmpty)
            #expect(try await HubContents.read(hub) == before)
            _ = try await Runbook.importsToR2.succeed(settings)
            #expect(try await bucket.objects(prefix: "imports/").count == 5)
            #expect(try await HubContents.read(hub) == before)
        }
    }
}
