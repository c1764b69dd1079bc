import FlowCore
import FlowTestKit
import Testing

/// Alembic and SQLAlchemy of the legacy service on the tables that the hub uses, in both orders of migration.
@Suite(.serialized, .postgres()) struct AlembicTests {
    private static let includeObject = ["ALEMBIC_INCLUDE_OBJECT": Runbook.alembicIncludeObject.path]

    /// Both programs store and read imports.
    private static func expectBothWork(_ hub: HubProcess, _ service: LegacyService) async throws {
        let theirs = try await service.call("schema.store_import", #"{"records":[{"n":1},{"n":2}]}"#).stringValue ?? ""
        #expect(try await hub.get(theirs, "/data").text.filter { !$0.isWhitespace } == #"[{"n":1},{"n":2}]"#)
        let ours = try await hub.store(TestUpload(#"[{"n":3}]"#))
        #expect(try await service.call("schema.records", #"{"import_id":"\#(ours.id)"}"#).string == #"[{"n":3}]"#)
        #expect(try await service.call("schema.imports").elements.count == Self.listed(hub))
    }

    private static func listed(_ hub: HubProcess) async throws -> Int? {
        try await hub.call("GET", "/v1/imports?limit=1000").json.member("imports")?.elements.count
    }

    /// - Parameter schema: whether the hub's tables have a schema of their own.
    @Test func serviceMigratesBeforeTheHub() async {
        await concurrently([true, false], self.serviceMigratesBeforeTheHub(_:))
    }

    private func serviceMigratesBeforeTheHub(_ schema: Bool) async throws {
        let server = try SharedPostgres.server
        let url = ["DATABASE_URL": server.url(try await server.createDatabase())]
        let environment = url.merging(schema ? SchemaTests.schema : [:]) { $1 }
        try await LegacyService.running(url.merging(Self.includeObject) { $1 }) { service in
            try await service.call("schema.upgrade")
            try await HubProcess.running(environment) { hub in
                try await Self.expectBothWork(hub, service)
                // Revisions beside the running hub, which has prepared statements on these tables.
                try await service.call("schema.downgrade", #"{"revision":"0002"}"#)
                #expect(try await Self.listed(hub) == 2)
                try await service.call("schema.upgrade")
                try await Self.expectBothWork(hub, service)
                #expect(try await hub.command(["imports", "verify"]).exit == .code(0))
            }
            #expect(try await service.call("schema.differences").string == "[]")
        }
    }

    /// The revision of the service's guide fails as a whole while the hub's columns exist, and runs as OPERATIONS says.
    @Test func serviceMigratesAfterTheHub() async {
        await concurrently([true, false], self.serviceMigratesAfterTheHub(_:))
    }

    private func serviceMigratesAfterTheHub(_ schema: Bool) async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let url = ["DATABASE_URL": server.url(database)]
        try await LegacyService.running(url) { service in
            try await service.call("schema.upgrade", #"{"revision":"0001"}"#)
            try await HubProcess.running(url.merging(schema ? SchemaTests.schema : [:]) { $1 }) { hub in
                let error = await #expect(throws: LegacyService.Failure.self) { try await service.call("schema.upgrade") }
                #expect(error?.description.contains("DuplicateColumn") == true)
                #expect(try await server.query("SELECT version_num FROM alembic_version", in: database) == "0001")
                let accepting = url.merging(Self.includeObject) { $1 }.merging(["LEGACY_REVISIONS_ACCEPT_EXISTING": "true"]) {
                    $1
                }
                try await LegacyService.running(accepting) { service in
                    try await service.call("schema.upgrade")
                    try await Self.expectBothWork(hub, service)
                    #expect(try await service.call("schema.differences").string == "[]")
                }
            }
        }
    }

    /// Without the lines of OPERATIONS, autogenerate would write a revision that takes the hub's columns away.
    @Test func autogenerateNeedsTheLinesOfOperations() async throws {
        let server = try SharedPostgres.server
        let url = ["DATABASE_URL": server.url(try await server.createDatabase())]
        try await LegacyService.running(url) { service in
            try await service.call("schema.upgrade")
            #expect(try await SettingsTests.run(["migrate"], url.merging(SchemaTests.schema) { $1 }).exit == .code(0))
            let differences = try await service.call("schema.differences").string
            for text in ["remove_column", "claimed_until", "modify_type", "modify_nullable", "remove_index"] {
                #expect(differences.contains(text), "\(text)")
            }
            #expect(!differences.contains("remove_table"), "the hub's schema is not alembic's")
        }
    }
}
