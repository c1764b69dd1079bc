import FlowCore
import GRDB

/// Reading and writing of flows and events. Statements are prepared once per connection and their parameters bound
/// directly, because a commit spends most of its time here.
extension Database {
    /// Executes a statement without a result.
    func run(_ sql: String, _ arguments: [DatabaseValue]) throws {
        let statement = try self.cachedStatement(sql: sql)
        // Unchecked, because the number of placeholders is fixed by the code, not by input.
        statement.setUncheckedArguments(StatementArguments(arguments))
        try statement.execute()
    }

    /// A cursor over the rows of a SELECT. The statement is reused, so only one such cursor may be in use for the same
    /// SQL.
    func rows(_ sql: String, _ arguments: [DatabaseValue]) throws -> RowCursor {
        let statement = try self.cachedStatement(sql: sql)
        statement.setUncheckedArguments(StatementArguments(arguments))
        return try Row.fetchCursor(statement)
    }

    /// Decodes the first row of a SELECT; `nil` if there are no rows. The row is decoded while its cursor is alive,
    /// since the row is empty after that.
    func first<Value>(_ sql: String, _ arguments: [DatabaseValue], _ decode: (Row) throws -> Value) throws -> Value? {
        let rows = try self.rows(sql, arguments)
        return try withExtendedLifetime(rows) { try rows.next().map(decode) }
    }

    // MARK: Flows

    /// The columns of a flow's head, in the order that `FlowHead(_:)` decodes.
    static let headColumns = "id, client_account_id, status, version, reset_version, updated_at"

    /// Reads the flow with its state; `nil` if it never existed.
    func flow(_ flow: FlowID) throws -> FlowRecord? {
        try self.first(
            "SELECT \(Self.headColumns), fence, state FROM flows WHERE id = ?", [flow.rawValue.databaseValue]
        ) { row in
            FlowRecord(head: try FlowHead(row), state: JSONText(stored: row[7]), fence: JSONText(stored: row[6]))
        }
    }

    /// Inserts the row of a new flow.
    func insert(_ record: FlowRecord) throws {
        let head = record.head
        try self.run(
            """
            INSERT INTO flows (id, client_account_id, status, version, reset_version, created_at, updated_at, deleted_at,
                fence, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                head.flow.rawValue.databaseValue, head.account.databaseValue, head.status.rawValue.databaseValue,
                head.version.databaseValue, head.resetVersion.databaseValue, head.updatedAt.databaseValue,
                head.updatedAt.databaseValue, head.isDeleted ? head.updatedAt.databaseValue : .null,
                record.fence.databaseValue, record.state.databaseValue,
            ])
    }

    /// Updates the flow's row. The time of creation changes only if a deleted flow is created again.
    /// - Parameters:
    ///   - stored: the flow as the row has it before.
    ///   - state: the state to write; `nil` if the row has it already. SQLite then leaves its pages as they are.
    func update(_ record: FlowRecord, from stored: FlowRecord, state: JSONText?) throws {
        let head = record.head
        let newState = state?.databaseValue ?? .null
        // A tombstone whose flow was created and deleted again has another time of deletion.
        if head.status == stored.head.status, !head.isDeleted {
            // The status is unchanged: do not write the indexed columns, so that their indexes need no update.
            try self.run(
                "UPDATE flows SET version = ?, reset_version = ?, updated_at = ?, fence = ?, state = coalesce(?, state) WHERE id = ?",
                [
                    head.version.databaseValue, head.resetVersion.databaseValue, head.updatedAt.databaseValue,
                    record.fence.databaseValue, newState, head.flow.rawValue.databaseValue,
                ])
            return
        }
        let isRecreated = stored.head.isDeleted && !head.isDeleted
        try self.run(
            """
            UPDATE flows SET status = ?, version = ?, reset_version = ?, created_at = coalesce(?, created_at), updated_at = ?,
                deleted_at = ?, fence = ?, state = coalesce(?, state) WHERE id = ?
            """,
            [
                head.status.rawValue.databaseValue, head.version.databaseValue, head.resetVersion.databaseValue,
                isRecreated ? head.updatedAt.databaseValue : .null, head.updatedAt.databaseValue,
                head.isDeleted ? head.updatedAt.databaseValue : .null, record.fence.databaseValue, newState,
                head.flow.rawValue.databaseValue,
            ])
    }

    // MARK: Events

    /// Inserts a durable event of the flow.
    func insert(_ event: FlowEvent, of flow: FlowID) throws {
        try self.run(
            "INSERT INTO flow_events (flow_id, version, type, created_at, payload) VALUES (?, ?, ?, ?, ?)",
            [
                flow.rawValue.databaseValue, event.version.databaseValue, event.type.rawValue.databaseValue,
                event.createdAt.databaseValue, event.payload.databaseValue,
            ])
    }

    // MARK: Epoch

    /// Reads the epoch in the database.
    func storedEpoch() throws -> Epoch {
        let stored = try self.first("SELECT epoch FROM hub_meta", []) { Epoch($0[0] as String) }
        guard let epoch = stored ?? nil else { throw UnreadableRow() }
        return epoch
    }

    /// Throws ``StoreError/epochChanged`` if the stored epoch differs from the one that the caller has adopted.
    func check(_ epoch: Epoch) throws {
        if try self.storedEpoch() != epoch { throw StoreError.epochChanged }
    }
}

extension FlowHead {
    /// Decodes the columns of `Database.headColumns`.
    init(_ row: Row) throws {
        guard let flow = FlowID(row[0] as String) else { throw UnreadableRow() }
        self.init(
            flow: flow, account: row[1], version: row[3], status: FlowStatus(stored: row[2]), resetVersion: row[4],
            updatedAt: Timestamp(milliseconds: row[5]))
    }
}

extension FlowEvent {
    /// Decodes the columns `version, type, created_at, payload`.
    init(_ row: Row) throws {
        guard let type = EventType(row[1] as String) else { throw UnreadableRow() }
        self.init(version: row[0], type: type, payload: JSONText(stored: row[3]), createdAt: Timestamp(milliseconds: row[2]))
    }
}

extension JSONText {
    /// Creates JSON text from a column, without validation, because the hub wrote it.
    init(stored text: String) { self.init(trusted: Array(text.utf8)) }

    var databaseValue: DatabaseValue { self.string.databaseValue }
}

extension Timestamp {
    var databaseValue: DatabaseValue { self.milliseconds.databaseValue }
}
