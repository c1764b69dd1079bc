import FlowCore
import FlowTestKit
import Testing

/// `flowhub doctor` reads the ledger where `FLOWHUB_PG_SCHEMA` has it.
@Suite(.postgres()) struct SchemaDoctorTests {
    /// The user's search path finds nothing, so the import tables are in the hub's schema too.
    @Test func keysOfTheLedgerAreComparedInEverySchema() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        try await server.query("DROP ROLE IF EXISTS elsewhere; CREATE ROLE elsewhere LOGIN", in: "postgres")
        try await server.query(
            "CREATE SCHEMA hub_own AUTHORIZATION elsewhere; ALTER ROLE elsewhere IN DATABASE \(database) SET search_path = nowhere",
            in: database)
        try await ImportKeyFixture.running([ImportKeyFixture.line("new")]) { keys in
            let environment = SchemaTests.schema.merging(keys.environment) { $1 }.merging([
                "DATABASE_URL": "postgres://elsewhere@127.0.0.1:\(server.port)/\(database)"
            ]) { $1 }
            let migrated = try await SettingsTests.run(["migrate"], environment)
            #expect(migrated.exit == .code(0), "\(migrated)")
            let before = try await SettingsTests.run(["doctor"], environment)
            #expect(before.exit == .code(0) && !before.output.contains("were not compared"), "\(before)")
            try await server.query(
                """
                INSERT INTO hub_own.data_imports (id, account, status, claim, encryption) VALUES (gen_random_uuid(), '0', 'stored', 1,
                    '{"v":1,"key":"lost","salt":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","check":"AAECAwQFBgc="}')
                """, in: database)
            let after = try await SettingsTests.run(["doctor"], environment)
            #expect(after.exit == .code(1) && after.output.contains("encrypted with the key lost"), "\(after)")
        }
    }
}
