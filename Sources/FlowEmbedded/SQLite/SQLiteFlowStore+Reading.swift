public import FlowCore
import GRDB

extension SQLiteFlowStore {
    /// Number of flow ids in one statement of ``heads(of:)``.
    private static let headChunk = 500

    /// Reads the flow with its state, tombstones included; `nil` if it never existed.
    public func load(_ flow: FlowID) async throws(StoreError) -> FlowRecord? {
        try await self.read { try $0.flow(flow) }
    }

    /// Reads the flow's head and a history page after the version, in one MVCC snapshot. If the first event alone
    /// exceeds `limit.bytes`, the page contains only this event.
    public func page(of flow: FlowID, after version: Version, limit: PageLimit) async throws(StoreError) -> EventPage {
        try await self.read { database in
            let head = try database.first(
                "SELECT \(Database.headColumns) FROM flows WHERE id = ?", [flow.rawValue.databaseValue], FlowHead.init)
            guard let head else { return EventPage(head: nil, events: []) }
            guard head.version > version else { return EventPage(head: head, events: []) }
            let rows = try database.rows(
                """
                SELECT version, type, created_at, payload FROM flow_events WHERE flow_id = ? AND version > ?
                ORDER BY version LIMIT ?
                """,
                [flow.rawValue.databaseValue, version.databaseValue, max(1, limit.events).databaseValue])
            var events: [FlowEvent] = []
            var bytes = 0
            while let row = try rows.next() {
                let event = try FlowEvent(row)
                bytes += event.payload.bytes.count
                if !events.isEmpty, bytes > limit.bytes { break }
                events.append(event)
            }
            return EventPage(head: head, events: events)
        }
    }

    /// Reads the heads of these flows, in any order. Flows that never existed are left out.
    public func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead] {
        // The same statement for every chunk, so that it is prepared once. The last chunk is padded with NULL, which
        // equals no id.
        let placeholders = Array(repeating: "?", count: Self.headChunk).joined(separator: ",")
        let sql = "SELECT \(Database.headColumns) FROM flows WHERE id IN (\(placeholders))"
        return try await self.read { database in
            var heads: [FlowHead] = []
            heads.reserveCapacity(flows.count)
            for start in stride(from: 0, to: flows.count, by: Self.headChunk) {
                var arguments = flows[start..<min(start + Self.headChunk, flows.count)].map { $0.rawValue.databaseValue }
                arguments += repeatElement(.null, count: Self.headChunk - arguments.count)
                let rows = try database.rows(sql, arguments)
                while let row = try rows.next() { heads.append(try FlowHead(row)) }
            }
            return heads
        }
    }

    /// Reads the heads of finished flows of all accounts whose last change was before a moment.
    public func finished(before moment: Timestamp, limit: Int) async throws(StoreError) -> [FlowHead] {
        try await self.read { database in
            // The condition of the index `flows_by_end`, word by word.
            let rows = try database.rows(
                """
                SELECT \(Database.headColumns) FROM flows
                WHERE (status = 'completed' OR status = 'failed' OR status = 'cancelled') AND updated_at < ?
                ORDER BY updated_at LIMIT ?
                """, [moment.databaseValue, max(1, limit).databaseValue])
            var heads: [FlowHead] = []
            while let row = try rows.next() { heads.append(try FlowHead(row)) }
            return heads
        }
    }

    /// Reads a list page of an account's flows: their heads, in the order of the query.
    public func list(_ query: FlowQuery) async throws(StoreError) -> FlowList {
        try await self.read { database in
            var conditions = ["client_account_id = ?"]
            var arguments = [query.account.databaseValue]
            let statuses = FlowQuery.padded(Array(query.statuses))
            if !statuses.isEmpty {
                conditions.append("status IN (\(statuses.map { _ in "?" }.joined(separator: ",")))")
                arguments += statuses.map(\.rawValue.databaseValue)
            }
            let ranges = FlowQuery.padded(query.idRanges)
            if !ranges.isEmpty {
                conditions.append("(\(ranges.map { _ in "id BETWEEN ? AND ?" }.joined(separator: " OR ")))")
                arguments += ranges.flatMap { [$0.lowerBound.databaseValue, $0.upperBound.databaseValue] }
            }
            if !query.includesDeleted { conditions.append("deleted_at IS NULL") }
            let order: String
            switch query.order {
            case .id(let after):
                order = "id"
                conditions.append("id > ?")
                arguments.append((after ?? "").databaseValue)
            case .changed(let since, let after):
                order = "updated_at, id"
                conditions.append("(updated_at, id) > (?, ?)")
                arguments.append(since.databaseValue)
                arguments.append((after?.rawValue ?? "").databaseValue)
            case .newest:
                order = "updated_at DESC, id DESC"
            }
            let limit = max(1, query.limit)
            // One row more than requested shows whether there are more.
            arguments.append((limit + 1).databaseValue)
            let rows = try database.rows(
                """
                SELECT \(Database.headColumns) FROM flows WHERE \(conditions.joined(separator: " AND "))
                ORDER BY \(order) LIMIT ?
                """, arguments)
            var heads: [FlowHead] = []
            while let row = try rows.next() { heads.append(try FlowHead(row)) }
            let hasMore = heads.count > limit
            if hasMore { heads.removeLast() }
            return FlowList(flows: heads, hasMore: hasMore)
        }
    }
}
