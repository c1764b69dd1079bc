import Crypto

/// One step of the schema, as it stands in `migrations/`.
public struct Migration: Hashable, Sendable {
    /// `0001_flows`
    public let name: String
    public let sql: String
    /// Of the file's bytes, in hexadecimal.
    public let sha256: String
    /// The index that the file builds beside a table in use; then it is no transaction.
    public let concurrentIndex: String?

    private static let concurrentMark = "-- outside a transaction: "

    public init(name: String, bytes: [UInt8]) {
        self.name = name
        self.sql = String(decoding: bytes, as: UTF8.self)
        self.sha256 = SHA256.hash(data: bytes).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
        let first = self.sql.prefix { $0 != "\n" }
        self.concurrentIndex =
            first.hasPrefix(Self.concurrentMark) ? String(first.dropFirst(Self.concurrentMark.count)) : nil
    }

    /// All of them, in their order. A test compares the list with the folder.
    public static let all: [Migration] = [
        Migration(name: "0001_flows", bytes: PackageResources._001_flows_sql),
        Migration(name: "0002_imports", bytes: PackageResources._002_imports_sql),
        Migration(name: "0003_import_samples", bytes: PackageResources._003_import_samples_sql),
        Migration(name: "0004_import_ledger", bytes: PackageResources._004_import_ledger_sql),
        Migration(name: "0005_import_keys", bytes: PackageResources._005_import_keys_sql),
        Migration(name: "0006_import_lists", bytes: PackageResources._006_import_lists_sql),
        Migration(name: "0007_import_chores", bytes: PackageResources._007_import_chores_sql),
        Migration(name: "0008_import_locations", bytes: PackageResources._008_import_locations_sql),
        Migration(name: "0009_import_rows", bytes: PackageResources._009_import_rows_sql),
    ]
}

/// What a database has of the migrations.
struct MigrationPlan: Hashable, Sendable {
    /// Recorded in the database: name to SHA-256.
    var applied: [String: String]

    /// What is still to be done, in order.
    /// - Throws: if the database was made by other files than these.
    func pending(of migrations: [Migration]) throws(PostgresError) -> [Migration] {
        for migration in migrations {
            guard let recorded = self.applied[migration.name], recorded != migration.sha256 else { continue }
            throw PostgresError(
                .schema,
                "migration \(migration.name) was changed after it was applied. Use the binary that applied it, or restore the file"
            )
        }
        let pending = migrations.filter { self.applied[$0.name] == nil }
        if let first = pending.first, let last = self.applied.keys.max(), first.name < last {
            throw PostgresError(
                .schema,
                "migration \(first.name) comes before \(last), which is applied already. New files get the next number")
        }
        return pending
    }
}
