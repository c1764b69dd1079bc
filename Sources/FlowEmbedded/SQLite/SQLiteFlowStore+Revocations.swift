public import FlowCore
import GRDB

extension SQLiteFlowStore: RevocationStore {
    /// Stores the revocation. If the subject has one already, the later `notBefore` of the two stays. The revocation of all
    /// subjects of an account has no limit, and takes the place of those that it covers.
    /// - Returns: the revocation in effect, or that the account has revoked the maximum number of subjects.
    @discardableResult
    public func revoke(_ revocation: Revocation, now: Timestamp) async throws(StoreError) -> RevocationOutcome {
        let limit = self.accountLimits.revocations
        return try await self.write { database in
            let isOfAccount = revocation.subject == Revocation.allSubjects
            if limit > 0, !isOfAccount, try database.usage(of: revocation.account).revocations >= limit {
                let isKnown = try database.first(
                    "SELECT 1 FROM revocations WHERE account = ? AND subject = ?",
                    [revocation.account.databaseValue, revocation.subject.databaseValue]
                ) { _ in true }
                if isKnown == nil { return .limitReached(limit) }
            }
            try database.run(
                """
                INSERT INTO revocations (account, subject, not_before, created_at) VALUES (?, ?, ?, ?)
                ON CONFLICT (account, subject) DO UPDATE
                SET not_before = max(not_before, excluded.not_before), created_at = excluded.created_at
                """,
                [
                    revocation.account.databaseValue, revocation.subject.databaseValue, revocation.notBefore.databaseValue,
                    now.databaseValue,
                ])
            if isOfAccount {
                try database.run(
                    """
                    DELETE FROM revocations WHERE (account, subject) IN
                        (SELECT account, subject FROM revocations WHERE account = ? AND subject <> ? AND not_before <= ? LIMIT ?)
                    """,
                    [
                        revocation.account.databaseValue, Revocation.allSubjects.databaseValue,
                        revocation.notBefore.databaseValue, Revocation.absorbedAtOnce.databaseValue,
                    ])
            }
            let effective = try database.first(
                "SELECT account, subject, not_before FROM revocations WHERE account = ? AND subject = ?",
                [revocation.account.databaseValue, revocation.subject.databaseValue], Revocation.init)
            guard let effective else { throw UnreadableRow() }
            return .stored(effective)
        }
    }

    /// Reads all revocations of all accounts.
    public func revocations() async throws(StoreError) -> [Revocation] {
        try await self.read { database in
            let rows = try database.rows("SELECT account, subject, not_before FROM revocations ORDER BY account, subject", [])
            var revocations: [Revocation] = []
            while let row = try rows.next() { revocations.append(Revocation(row)) }
            return revocations
        }
    }
}

extension Revocation {
    /// Decodes the columns `account, subject, not_before`.
    fileprivate init(_ row: Row) { self.init(account: row[0], subject: row[1], notBefore: row[2]) }
}
