import CPostgres
import FlowCore

/// Owns a libpq result and frees it on deinitialization. libpq never modifies a returned result, so any thread may
/// read it.
final class ResultSet: @unchecked Sendable {
    private let handle: OpaquePointer?

    /// Takes ownership of a libpq result. A `nil` result has no rows, and ``error(on:)`` reports it as a lost
    /// connection.
    init(_ handle: OpaquePointer?) { self.handle = handle }

    deinit { PQclear(self.handle) }

    var rowCount: Int { self.handle.map { Int(PQntuples($0)) } ?? 0 }
    var rows: some Sequence<ResultRow> { (0..<self.rowCount).lazy.map { ResultRow(set: self, number: Int32($0)) } }
    /// The first row; `nil` if there are no rows.
    var first: ResultRow? { self.rowCount > 0 ? ResultRow(set: self, number: 0) : nil }

    /// The last row; `nil` if there are no rows.
    var last: ResultRow? { self.rowCount > 0 ? ResultRow(set: self, number: Int32(self.rowCount - 1)) : nil }

    /// The error in this result; `nil` if the statement succeeded.
    func error(on connection: PostgresConnection) -> PostgresError? {
        switch PQresultStatus(self.handle) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY, PGRES_PIPELINE_SYNC, PGRES_SINGLE_TUPLE: return nil
        case PGRES_PIPELINE_ABORTED: return PostgresError(.aborted, "an earlier statement of the transaction failed")
        default: break
        }
        // Without a SQLSTATE the error is libpq's: the connection is lost.
        guard let state = self.field("C") else { return PostgresError(.connection, connection.errorMessage) }
        return PostgresError(
            state: state, severity: self.field("V") ?? "", message: self.field("M") ?? "", constraint: self.field("n"))
    }

    /// A field of the server's error message, by its letter in the Postgres protocol; `nil` if the message lacks it.
    private func field(_ letter: Unicode.Scalar) -> String? {
        guard let handle = self.handle, let text = PQresultErrorField(handle, Int32(letter.value)) else { return nil }
        return String(cString: text)
    }

    /// Calls the body with the bytes of a cell.
    /// - Returns: the body's value; `nil` if the cell is NULL.
    fileprivate func withCell<Value>(_ row: Int32, _ column: Int32, _ body: (UnsafeRawBufferPointer) -> Value) -> Value? {
        guard let handle = self.handle, PQgetisnull(handle, row, column) == 0, let cell = PQgetvalue(handle, row, column) else {
            return nil
        }
        return body(UnsafeRawBufferPointer(start: cell, count: Int(PQgetlength(handle, row, column))))
    }
}

/// One row of a result, with its cells in the server's binary format. Columns are counted from 0.
struct ResultRow {
    let set: ResultSet
    /// Index of the row in its result.
    let number: Int32

    /// Whether the cell is NULL.
    func isNull(_ column: Int) -> Bool { self.set.withCell(self.number, Int32(column)) { _ in } == nil }

    /// A cell of type `text`, or of one with the same binary format; `nil` if it is NULL.
    func text(_ column: Int) -> String? {
        self.set.withCell(self.number, Int32(column)) { String(decoding: $0, as: UTF8.self) }
    }

    /// A cell of type `int8` or `int4`; `nil` if it is NULL or has another size.
    func int64(_ column: Int) -> Int64? {
        let value = self.set.withCell(self.number, Int32(column)) { bytes -> Int64? in
            switch bytes.count {
            case 8: Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
            case 4: Int64(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
            default: nil
            }
        }
        return value ?? nil
    }

    /// A cell of type `bool`; `nil` if it is NULL.
    func bool(_ column: Int) -> Bool? { self.set.withCell(self.number, Int32(column)) { $0.first == 1 } }

    /// A cell of type `timestamptz`, rounded down to milliseconds; `nil` if it is NULL.
    func time(_ column: Int) -> Timestamp? { self.int64(column).map { Timestamp(postgresMicroseconds: $0) } }

    /// A cell of type `json`, whose bytes are exactly the text that was written; `nil` if it is NULL.
    func json(_ column: Int) -> JSONText? {
        self.set.withCell(self.number, Int32(column)) { JSONText(trusted: Array($0)) }
    }
}
