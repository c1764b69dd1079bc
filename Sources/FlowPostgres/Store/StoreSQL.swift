import FlowCore

/// SQL fragments shared by the statements on flows and events.
enum StoreSQL {
    /// A CTE with the store's epoch, and in `same` whether the server's timeline is the one for which the epoch was
    /// raised. ``ResultSet/check(_:)`` requires that `epoch` is the adopted one and `same` is true. The timeline comes
    /// from the WAL file name because `pg_control_checkpoint()` shows a promotion only minutes later.
    static let meta = """
        meta AS MATERIALIZED (
            SELECT epoch, timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8) AS same FROM hub_meta
        )
        """

    /// The columns of a flow's head.
    /// - Parameter table: alias of the table `flows`.
    static func head(_ table: String) -> String {
        ["id", "client_account_id", "status", "version", "reset_version", "updated_at"].map { "\(table).\($0)" }
            .joined(separator: ", ")
    }

    /// The columns of a stored flow: its head, fences and state.
    /// - Parameter table: alias of the table `flows`.
    static func record(_ table: String) -> String { "\(Self.head(table)), \(table).fence, \(table).state" }

    /// The columns of `account_usage` that are counts.
    static let counts = ["flows", "ids", "state_bytes", "history_bytes", "revocations", "imports"]
    /// The sums of the counts, for ``ResultRow/usage(at:)``.
    static let usageSums = Self.counts.map { "sum(\($0))::bigint" }.joined(separator: ", ")

    /// The group of a flow id in `ended_versions`, 0 to 65,535. The expression must never change.
    static func bucket(_ id: String) -> String { "('x' || left(md5(\(id)), 4))::bit(16)::int" }
}

extension ResultRow {
    /// Decodes the columns of ``StoreSQL/head(_:)``.
    /// - Parameter column: index of the first of these columns.
    /// - Returns: `nil` if an outer join found no flow.
    func head(at column: Int) throws(PostgresError) -> FlowHead? {
        guard let id = self.text(column) else { return nil }
        guard let flow = FlowID(id), let account = self.text(column + 1), let status = self.text(column + 2),
            let version = self.int64(column + 3), let reset = self.int64(column + 4), let updatedAt = self.time(column + 5)
        else { throw PostgresError.unreadable }
        return FlowHead(
            flow: flow, account: account, version: version, status: FlowStatus(stored: status), resetVersion: reset,
            updatedAt: updatedAt)
    }

    /// Decodes the columns of ``StoreSQL/record(_:)``, of which the first has the index `column`; `nil` if an outer
    /// join found no flow.
    func record(at column: Int) throws(PostgresError) -> FlowRecord? {
        guard let head = try self.head(at: column) else { return nil }
        guard let fence = self.json(column + 6), let state = self.json(column + 7) else { throw PostgresError.unreadable }
        return FlowRecord(head: head, state: state, fence: fence)
    }

    /// Decodes the columns of ``StoreSQL/usageSums``, of which the first has the index `column`.
    func usage(at column: Int) -> AccountUsage {
        var usage = AccountUsage()
        usage.flows = Int(self.int64(column) ?? 0)
        usage.ids = Int(self.int64(column + 1) ?? 0)
        usage.stateBytes = Int(self.int64(column + 2) ?? 0)
        usage.historyBytes = Int(self.int64(column + 3) ?? 0)
        usage.revocations = Int(self.int64(column + 4) ?? 0)
        usage.imports = Int(self.int64(column + 5) ?? 0)
        return usage
    }

    /// Decodes the columns `account, key, fingerprint, status, flow_id, versions`.
    func reply() throws(PostgresError) -> (ChangeBatch.ReplyKey, StoredReply) {
        guard let account = self.text(0), let key = self.text(1), let fingerprint = self.text(2), let status = self.int64(3),
            let flow = self.text(4).flatMap({ FlowID($0) }), let list = self.text(5)
        else { throw .unreadable }
        let versions = list.split(separator: ",").map { Version($0) }
        guard !versions.contains(nil) else { throw .unreadable }
        return (
            ChangeBatch.ReplyKey(account: account, key: key),
            StoredReply(fingerprint: fingerprint, status: Int(status), flow: flow, versions: versions.compactMap(\.self))
        )
    }

    /// Decodes the columns `version, type, created_at, payload`, of which the first has the index `column`; `nil` if an
    /// outer join found no event.
    func event(at column: Int) throws(PostgresError) -> FlowEvent? {
        guard let version = self.int64(column) else { return nil }
        guard let name = self.text(column + 1), let type = EventType(name), let createdAt = self.time(column + 2),
            let payload = self.json(column + 3)
        else { throw PostgresError.unreadable }
        return FlowEvent(version: version, type: type, payload: payload, createdAt: createdAt)
    }
}

extension ResultSet {
    /// Verifies that the statement ran under the epoch that the caller has adopted. Its first column is the stored epoch,
    /// its second whether the server's timeline is the one on which that epoch was raised.
    /// - Throws: ``PostgresError/epochChanged`` if the epoch or the timeline differs; code `schema` if the hub's tables
    ///   are not initialized.
    func check(_ epoch: Epoch) throws(PostgresError) {
        guard let row = self.first, let stored = row.text(0), let isSame = row.bool(1) else {
            throw PostgresError(.schema, "the hub's tables are not initialized; run `flowhub migrate`")
        }
        guard isSame, stored == epoch.description else { throw .epochChanged }
    }
}

extension StoreError {
    /// Maps a pool failure to the store's error: `outcomeUnknown` if the unit may have taken effect.
    init(_ failure: PoolFailure) {
        let error = failure.error
        if failure.mayHaveTakenEffect {
            self = .outcomeUnknown(error.description)
        } else if error.code == .epoch {
            self = .epochChanged
        } else if error.code == .data, error.state?.hasPrefix("22") == true {
            self = .invalidValue(error.description)
        } else if [.locked, .conflict, .data].contains(error.code) || (error.code == .busy && error.state == nil) {
            // The store is available, and only this operation failed: because of a conflict, a locked row, a violated
            // constraint, or because no connection was free.
            self = .overloaded(error.description)
        } else {
            self = .unavailable(error.description)
        }
    }
}
