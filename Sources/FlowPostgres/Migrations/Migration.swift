import Crypto

/// One migration of the schema: a numbered SQL file in `migrations/`.
public struct Migration: Hashable, Sendable {
    /// File name without extension, such as `0001_flows`.
    public let name: String
    /// The statements of the file.
    public let sql: String
    /// SHA-256 of the file's bytes in hexadecimal.
    public let sha256: String
    /// Name of the index that the file builds with `CREATE INDEX CONCURRENTLY`, outside a transaction; `nil` for
    /// other files.
    public let concurrentIndex: String?

    /// The migration whose statements run in this one's transaction too, before their own turn: without them, what this one creates
    /// would hinder other programs until then, and an index build between the two may take as long as the longest transaction of
    /// the database. The statements may run twice.
    var completedBy: String? {
        // Its triggers on the import tables count with the rights of whoever changes them, and a legacy service has none on the
        // hub's tables.
        self.name == "0011_account_usage" ? "0015_trigger_rights" : nil
    }

    /// Whether the file creates objects in the schema of the import tables, if the hub's own tables have another one.
    var createsInImportSchema: Bool { ["0002_imports", "0004_import_ledger"].contains(self.name) }

    /// Beginning of the first line of a file with a concurrent index build; the index name follows.
    private static let concurrentPrefix = "-- outside a transaction: "

    /// Creates a migration from the bytes of its file.
    public init(name: String, bytes: [UInt8]) {
        self.name = name
        self.sql = String(decoding: bytes, as: UTF8.self)
        self.sha256 = SHA256.hash(data: bytes).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
        let first = self.sql.prefix { $0 != "\n" }
        self.concurrentIndex =
            first.hasPrefix(Self.concurrentPrefix) ? String(first.dropFirst(Self.concurrentPrefix.count)) : nil
    }

    /// All migrations in order. A test compares the list with the files in `migrations/`.
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
        Migration(name: "0010_lock_accounts", bytes: PackageResources._010_lock_accounts_sql),
        Migration(name: "0011_account_usage", bytes: PackageResources._011_account_usage_sql),
        Migration(name: "0012_flow_deletions", bytes: PackageResources._012_flow_deletions_sql),
        Migration(name: "0013_ended_versions", bytes: PackageResources._013_ended_versions_sql),
        Migration(name: "0014_import_encryption", bytes: PackageResources._014_import_encryption_sql),
        Migration(name: "0015_trigger_rights", bytes: PackageResources._015_trigger_rights_sql),
        Migration(name: "0016_flow_ends", bytes: PackageResources._016_flow_ends_sql),
        Migration(name: "0017_failed_imports", bytes: PackageResources._017_failed_imports_sql),
        Migration(name: "0018_tasks", bytes: PackageResources._018_tasks_sql),
    ]
}

/// The applied migrations of a database, from which the missing ones follow.
struct MigrationPlan: Hashable, Sendable {
    /// The applied migrations as recorded in the database: name to SHA-256.
    var applied: [String: String]

    /// The migrations that are not applied yet, in order.
    /// - Throws: ``PostgresError`` of code `schema` if an applied file has changed, or if an unapplied one precedes
    ///   an applied one.
    func pending(of migrations: [Migration]) throws(PostgresError) -> [Migration] {
        for migration in migrations {
            guard let recorded = self.applied[migration.name], recorded != migration.sha256 else { continue }
            throw PostgresError(
                .schema,
                "migration \(migration.name) was changed after it was applied. "
                    + "Restore the file, or use the binary that applied it")
        }
        let pending = migrations.filter { self.applied[$0.name] == nil }
        if let first = pending.first, let last = self.applied.keys.max(), first.name < last {
            throw PostgresError(
                .schema,
                "migration \(first.name) precedes \(last), which is already applied. Give new files the next number")
        }
        return pending
    }
}
