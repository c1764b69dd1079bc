import CPostgres

/// Owns a libpq connection and frees it with itself.
///
/// libpq allows one thread at a time on a connection. An object of this type is made by one thread, handed over once, and used
/// by its new owner alone from then on; that is why it may cross threads at all.
final class PostgresConnection: @unchecked Sendable {
    private let handle: OpaquePointer

    /// Connects, and blocks the calling thread for as long as `connect_timeout` allows for each address.
    init(_ settings: PostgresSettings) throws(PostgresError) {
        var keywords: [String] = []
        var values: [String] = []
        for (keyword, value) in settings.keywords {
            keywords.append(keyword)
            values.append(value)
        }
        let handle = CStrings.with(keywords) { keywords in
            CStrings.with(values) { values in
                // The connection string stands as "dbname" in the list, and what it says goes before what came earlier.
                PQconnectdbParams(keywords, values, 1)
            }
        }
        guard let handle else { throw PostgresError(.connection, "libpq is out of memory") }
        guard PQstatus(handle) == CONNECTION_OK else {
            let message = String(cString: PQerrorMessage(handle))
            let needsPassword = PQconnectionNeedsPassword(handle) == 1
            PQfinish(handle)
            throw PostgresError(connecting: message, needsPassword: needsPassword)
        }
        // Notices would go to standard error.
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        self.handle = handle
    }

    deinit { PQfinish(self.handle) }

    // MARK: Facts

    var socket: Int32 { PQsocket(self.handle) }
    var isBroken: Bool { PQstatus(self.handle) == CONNECTION_BAD }
    var errorMessage: String { String(cString: PQerrorMessage(self.handle)) }
    var serverVersion: Int { Int(PQserverVersion(self.handle)) }
    /// The process that the other side says it is; a pooler says something of its own.
    var statedProcess: Int { Int(PQbackendPID(self.handle)) }
    var encoding: String { PQparameterStatus(self.handle, "server_encoding").map { String(cString: $0) } ?? "unknown" }
    var isEncrypted: Bool { PQsslInUse(self.handle) == 1 }
    var host: String { PQhost(self.handle).map { String(cString: $0) } ?? "" }
    var database: String { PQdb(self.handle).map { String(cString: $0) } ?? "" }
    var user: String { PQuser(self.handle).map { String(cString: $0) } ?? "" }

    // MARK: Blocking

    /// Runs SQL of any number of statements and blocks until it is done.
    /// - Returns: the last statement's result.
    @discardableResult
    func execute(_ sql: String) throws(PostgresError) -> ResultSet {
        let result = ResultSet(PQexec(self.handle, sql))
        if let error = result.error(on: self) { throw error }
        return result
    }

    /// Runs one statement with parameters and blocks until it is done.
    func execute(_ statement: Statement) throws(PostgresError) -> ResultSet {
        let result = statement.parameters.withPointers { count, types, values, lengths, formats in
            ResultSet(PQexecParams(self.handle, statement.sql, count, types, values, lengths, formats, 1))
        }
        if let error = result.error(on: self) { throw error }
        return result
    }

    /// Runs one statement and blocks until it is done, so many seconds at most: a server may take a connection and say nothing.
    /// After a time-out the connection is of no use any more.
    func execute(_ statement: Statement, within seconds: Int) throws(PostgresError) -> ResultSet {
        guard self.send(statement) else { throw PostgresError(.connection, "the connection to the database was lost") }
        let deadline = ContinuousClock.now + .seconds(seconds)
        while true {
            guard self.consume() else { throw PostgresError(.connection, "the connection to the database was lost") }
            if PQisBusy(self.handle) == 0 { break }
            let left = (deadline - .now).components.seconds * 1_000 + 50
            var descriptor = pollfd(fd: self.socket, events: Int16(POLLIN), revents: 0)
            guard ContinuousClock.now < deadline, poll(&descriptor, 1, Int32(max(1, left))) >= 0 else {
                throw PostgresError(.timeout, "the database takes connections and does not answer")
            }
        }
        let result = ResultSet(PQgetResult(self.handle))
        while let rest = PQgetResult(self.handle) { PQclear(rest) }
        if let error = result.error(on: self) { throw error }
        return result
    }

    // MARK: Pipelining

    /// From now on nothing blocks, and several statements may be under way.
    func enterPipeline() throws(PostgresError) {
        guard PQsetnonblocking(self.handle, 1) == 0, PQenterPipelineMode(self.handle) == 1 else {
            throw PostgresError(.connection, "the connection cannot be pipelined")
        }
    }

    /// Queues the preparation of a statement under a name of this connection's.
    func prepare(_ statement: Statement, as name: String) -> Bool {
        statement.parameters.withPointers { count, types, _, _, _ in
            PQsendPrepare(self.handle, name, statement.sql, count, types) == 1
        }
    }

    /// Queues a statement that was prepared.
    func send(_ statement: Statement, preparedAs name: String) -> Bool {
        statement.parameters.withPointers { count, _, values, lengths, formats in
            PQsendQueryPrepared(self.handle, name, count, values, lengths, formats, 1) == 1
        }
    }

    /// Queues one statement.
    func send(_ statement: Statement) -> Bool {
        statement.parameters.withPointers { count, types, values, lengths, formats in
            PQsendQueryParams(self.handle, statement.sql, count, types, values, lengths, formats, 1) == 1
        }
    }

    /// Ends a unit: what was sent since the last one is one implicit transaction.
    func sync() -> Bool { PQpipelineSync(self.handle) == 1 }

    /// - Returns: whether everything has left; `nil` if the connection is lost.
    func flush() -> Bool? {
        switch PQflush(self.handle) {
        case 0: true
        case 1: false
        default: nil
        }
    }

    /// Reads what the socket has. - Returns: whether the connection is still there.
    func consume() -> Bool { PQconsumeInput(self.handle) == 1 }

    enum Reply {
        /// Not there yet.
        case none
        /// A statement has no more results.
        case separator
        case result(ResultSet)
        case sync
    }

    func nextReply() -> Reply {
        guard PQisBusy(self.handle) == 0 else { return .none }
        guard let result = PQgetResult(self.handle) else { return .separator }
        if PQresultStatus(result) == PGRES_PIPELINE_SYNC {
            PQclear(result)
            return .sync
        }
        return .result(ResultSet(result))
    }
}

/// Arrays of C strings for the time of a call.
private enum CStrings {
    static func with<Result>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result) -> Result {
        var bytes: [CChar] = []
        var offsets: [Int] = []
        for string in strings {
            offsets.append(bytes.count)
            bytes.append(contentsOf: string.utf8CString)
        }
        return bytes.withUnsafeBufferPointer { bytes in
            var pointers: [UnsafePointer<CChar>?] = offsets.map { bytes.baseAddress?.advanced(by: $0) }
            pointers.append(nil)
            return pointers.withUnsafeBufferPointer { list in
                // Never empty: the terminating null is in it.
                list.baseAddress.map(body)
            }
        } ?? body([nil])
    }
}
