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
                    let rows = try PostgresConnection(settings).execute(Statement(ImportSQL.encryptions)).rows
                    continuation.resume(returning: rows.compactMap { $0.encryption(0) }.filter(\.isKnown))
                } catch {
                    continuation.resume(returning: nil)
                }
            }
        }
    }
}
