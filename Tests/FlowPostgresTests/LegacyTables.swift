import FlowCore
import FlowTestKit

@testable import FlowPostgres

/// Tables that a legacy service created and continues to use. Their types differ between such services.
enum LegacyTables: CaseIterable {
    case uuids, integers, texts

    static let id = ImportID("00000000-0000-4000-8000-000000000001")
    static let flow = "6f2c1de4-5b1b-4a43-8d9c-0b6a4f4f8f10"

    private var tables: String {
        switch self {
        case .uuids:
            """
            CREATE TABLE data_imports (id uuid PRIMARY KEY, client_account_id integer NOT NULL, discovery_flow_id uuid NOT NULL,
                file_name varchar(255) NOT NULL, source_type varchar(50) NOT NULL, created_at timestamptz);
            CREATE TABLE raw_import_records (id uuid PRIMARY KEY, client_account_id integer NOT NULL,
                data_import_id uuid REFERENCES data_imports (id), raw_data jsonb NOT NULL, created_at timestamptz);
            """
        case .integers:
            """
            CREATE TABLE data_imports (id uuid PRIMARY KEY, client_account_id bigint, discovery_flow_id varchar(64),
                file_name varchar(255), source_type varchar(50), status varchar(20) DEFAULT 'pending', created_at timestamp);
            CREATE VIEW names AS SELECT file_name FROM data_imports;
            CREATE TABLE raw_import_records (id integer PRIMARY KEY, client_account_id bigint, data_import_id uuid,
                raw_data json, created_at timestamp);
            """
        case .texts:
            """
            CREATE TABLE data_imports (id uuid PRIMARY KEY, client_account_id integer, discovery_flow_id text, file_name text,
                source_type text, created_at timestamptz);
            CREATE TABLE raw_import_records (id varchar(40) PRIMARY KEY, client_account_id integer, data_import_id uuid,
                raw_data jsonb, created_at timestamptz);
            """
        }
    }

    /// An SQL expression for the id of row number `n`.
    private var rowID: String {
        switch self {
        case .uuids: "md5(n::text)::uuid"
        case .integers: "n"
        case .texts: "'row|' || n"
        }
    }

    /// An SQL statement that inserts rows with the numbers of a range.
    func insertion(_ numbers: Range<Int>, time: String = "now()") -> String {
        """
        INSERT INTO raw_import_records (id, client_account_id, data_import_id, raw_data, created_at)
        SELECT \(self.rowID), 7, '\(Self.id?.rawValue ?? "")', jsonb_build_object('n', n, 'name', '[a, "b": c]'), \(time)
        FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound - 1)) n;
        """
    }

    /// Migrates legacy tables that contain one import, and runs the body with a ledger on them. Rows share their
    /// times in pairs, and the last rows have no time.
    func withLedger(
        rows: Int = 25, _ body: (PostgresImportLedger, PostgresServer, String) async throws -> Void
    ) async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        try await server.query(
            """
            \(self.tables)
            INSERT INTO data_imports (id, client_account_id, discovery_flow_id, file_name, source_type, created_at)
            VALUES ('\(Self.id?.rawValue ?? "")', 7, '\(Self.flow)', 'a.csv', 'csv', '2024-02-03 04:05:06+00');
            \(self.insertion(0..<rows, time: "CASE WHEN n < \(rows) - 4 THEN timestamptz '2024-01-01' + (n / 2) * interval '1 s' END"))
            """, in: database)
        _ = try await MigrationRunner(PostgresSettings(url: server.url(database)), logger: logger).run()
        let store = try await openStore(server.url(database))
        do {
            var limits = PostgresImportLedger.Limits()
            // A small limit, so that few rows form several batches.
            limits.removedRows = 7
            try await body(PostgresImportLedger(store, limits: limits), server, database)
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }
}
