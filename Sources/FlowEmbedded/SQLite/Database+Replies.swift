import FlowCore
import GRDB

/// Reading and writing of stored replies under their idempotency keys.
extension Database {
    /// Reads the reply stored under the account's idempotency key; `nil` if there is none.
    func reply(to key: String, account: String) throws -> StoredReply? {
        try self.first(
            "SELECT fingerprint, status, flow_id, versions FROM idempotency WHERE account = ? AND key = ?",
            [account.databaseValue, key.databaseValue]
        ) { row in
            let versions = (row[3] as String).split(separator: ",").map { Version($0) }
            guard let flow = FlowID(row[2] as String), !versions.contains(nil) else { throw UnreadableRow() }
            return StoredReply(fingerprint: row[0], status: row[1], flow: flow, versions: versions.compactMap(\.self))
        }
    }

    /// Stores the reply under the account's idempotency key.
    func insert(_ reply: StoredReply, to key: String, account: String, at moment: Timestamp) throws {
        try self.run(
            """
            INSERT INTO idempotency (account, key, fingerprint, status, flow_id, versions, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                account.databaseValue, key.databaseValue, reply.fingerprint.databaseValue, reply.status.databaseValue,
                reply.flow.rawValue.databaseValue, reply.versions.map { "\($0)" }.joined(separator: ",").databaseValue,
                moment.databaseValue,
            ])
    }
}
