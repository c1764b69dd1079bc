import Dispatch
public import FlowCore

extension PostgresDiagnostics {
    /// Reads the encryption of one stored import for each name of an import key.
    /// - Returns: `nil` if the ledger cannot be read, or the migration for encryption is not applied yet.
    public func importEncryptions() async -> [ImportEncryption]? {
        let settings = self.settings
        return await withCheckedContinuation { continuation in
            DispatchQueue(label: "flowhub.postgres.examine").async {
                do {
                    let connection = try PostgresConnection(settings)
                    let layout = try SchemaLayout.read(connection, schema: settings.schema)
                    // A transaction, because through a pooler the search path lasts no longer.
                    try connection.execute("BEGIN READ ONLY")
                    try connection.execute("SELECT \(SearchPath.beginning(with: [layout.imports], isLocal: true))")
                    let rows = try connection.execute(Statement(ImportSQL.encryptions)).rows
                    try connection.execute("COMMIT")
                    continuation.resume(returning: rows.compactMap { $0.encryption(0) }.filter(\.isKnown))
                } catch {
                    continuation.resume(returning: nil)
                }
            }
        }
    }
}
