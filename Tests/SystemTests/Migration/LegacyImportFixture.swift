import FlowCore
import FlowTestKit
import Testing

/// Hubs and the legacy service with one Postgres database, one Redis and one bucket. The service's tables exist before the first
/// hub starts.
struct LegacyImportFixture: Sendable {
    let cluster: ImportClusterFixture
    let service: LegacyService

    var hub: HubProcess { self.cluster.hub }

    /// The tables as SQLAlchemy creates those of `models.py`.
    private static let tables = """
        CREATE TABLE data_imports (id uuid PRIMARY KEY, client_account_id integer NOT NULL, discovery_flow_id varchar(64) NOT NULL,
            file_name varchar(255) NOT NULL, source_type varchar(50) NOT NULL, status varchar(20), total_records integer,
            field_summary jsonb, storage_location varchar(500), storage_metadata jsonb, storage_provider varchar(50),
            created_at timestamp, notes varchar(200));
        CREATE TABLE raw_import_records (id uuid PRIMARY KEY, client_account_id integer NOT NULL,
            data_import_id uuid NOT NULL REFERENCES data_imports (id), raw_data jsonb NOT NULL, is_sample boolean,
            record_index integer, created_at timestamp);
        """

    static func running(
        hubs: Int = 1, _ environment: [String: String] = [:], _ body: @Sendable (LegacyImportFixture) async throws -> Void
    ) async throws {
        try await ImportClusterFixture.running(.r2, hubs: hubs, environment, after: Self.tables) { cluster in
            let bucket = try #require(cluster.bucket)
            let settings = [
                "DATABASE_URL": try SharedPostgres.server.url(#require(cluster.database)),
                "REDIS_URL": try SharedRedis.server.url, "R2_ENDPOINT": try SharedS3.server.endpoint,
                "R2_BUCKET_NAME": bucket.name, "R2_ACCESS_KEY_ID": S3Server.accessKey,
                "R2_SECRET_ACCESS_KEY": S3Server.secretKey,
            ]
            try await LegacyService.running(settings) { service in
                try await body(LegacyImportFixture(cluster: cluster, service: service))
            }
        }
    }

    // MARK: Imports

    /// Records as `jsonb` writes them, without spaces.
    static func records(_ numbers: Range<Int>) -> [String] { numbers.map { #"{"n":\#($0),"name":"host \#($0)"}"# } }

    /// Stores an import as the legacy service did before it had R2: as rows.
    /// - Returns: its id.
    func storeRows(_ records: [String]) async throws -> String {
        let id = try await self.service.call("imports.store_rows", #"{"records":[\#(records.joined(separator: ","))]}"#)
        return try #require(id.stringValue)
    }

    /// Runs the legacy service's migrate script for all imports.
    /// - Returns: the number of imports that it found, and of those that it moved.
    func runScript() async throws -> [Int64?] {
        let result = try await self.service.call("migrate_to_r2.migrate_all_imports")
        return [result.member("found")?.intValue, result.member("successful")?.intValue]
    }

    /// Expects that hub and legacy service read these records.
    func expect(_ records: [String], of id: String, at location: SourceLocation = #_sourceLocation) async throws {
        let page = try await self.hub.records(id, from: 0, limit: 1_000)
        #expect(page == Array(records.prefix(1_000)), sourceLocation: location)
        let data = try await self.hub.get(id, "/data")
        // The data of an object of the service are its own bytes, with spaces between the tokens.
        #expect(data.json.elements.map(\.string) == records, sourceLocation: location)
        let legacy = try await self.service.call("imports.read_import", #"{"import_id":"\#(id)"}"#)
        #expect(legacy.elements.map(\.string) == records, sourceLocation: location)
    }

    /// Runs `flowhub imports` with these arguments.
    func imports(_ arguments: String...) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
        try await self.hub.command(["imports"] + arguments)
    }

    func location(of id: String) async throws -> String {
        try await self.cluster.query("SELECT coalesce(storage_location, '') FROM data_imports WHERE id = '\(id)'")
    }
}
