public import FlowCore
import Foundation
import GRDB

extension SQLiteImportLedger {
    /// Reads the encryption of one stored import for each name of an import key.
    public func encryptions() async throws(StoreError) -> [ImportEncryption] {
        try await self.store.read(checksEpoch: false) { try $0.encryptions() }
    }

    /// Reads the same from the store in a directory without changing anything there; a hub may serve from it.
    /// - Returns: `nil` if there is no store yet, or it cannot be read.
    public static func encryptions(directory: String) -> [ImportEncryption]? {
        let path = directory + "/" + SQLiteDatabaseOpener.fileName
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        var configuration = GRDB.Configuration()
        configuration.readonly = true
        return try? DatabaseQueue(path: path, configuration: configuration).read { try $0.encryptions() }
    }
}

extension Database {
    fileprivate func encryptions() throws -> [ImportEncryption] {
        let rows = try self.rows(
            """
            SELECT min(encryption) FROM data_imports WHERE json_valid(encryption) AND status = 'stored'
            GROUP BY json_extract(encryption, '$.key') ORDER BY 1
            """, [])
        var found: [ImportEncryption] = []
        while let row = try rows.next() {
            let encryption = ImportEncryption(stored: try? JSONText(validating: (row[0] as String).utf8))
            if encryption.isKnown { found.append(encryption) }
        }
        return found
    }
}
