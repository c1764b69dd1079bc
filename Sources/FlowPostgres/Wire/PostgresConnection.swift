import CPostgres

/// Owns a libpq connection and closes it on deinitialization.
///
/// libpq allows one thread at a time per connection. One thread creates a `PostgresConnection` and hands it over to at
/// most one other thread, which alone uses it afterwards. Therefore the class may be `Sendable`.
final class PostgresConnection: @unchecked Sendable {
    private let handle: OpaquePointer

    /// Connects to the server. Blocks the calling thread for up to `connect_timeout` per address.
    /// - Throws: ``PostgresError`` with libpq's message in `serverMessage`.
    init(_ settings: PostgresSettings) throws(PostgresError) {
        var keywords: [String] = []
        var values: [String] = []
        for (keyword, value) in settings.keywords {
            keywords.append(keyword)
            values.append(value)
        }
        let handle = CStrings.with(keywords) { keywords in
            CStrings.with(values) { values in
                // The 1 (`expand_dbname`) makes libpq parse "dbname" as a connection string, whose values override
                // the entries before it.
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
        // Discards the server's notices and warnings, which libpq prints to standard error by default.
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        self.handle = handle
    }

    deinit { PQfinish(self.handle) }

    // MARK: Properties

    /// File descriptor of the socket, for `poll`.
    var socket: Int32 { PQsocket(self.handle) }
    /// Whether libpq has found the connection lost.
    var isBroken: Bool { PQstatus(self.handle) == CONNECTION_BAD }
    /// libpq's last error message. It may name host, port and user.
    var errorMessage: String { String(cString: PQerrorMessage(self.handle)) }
    /// Version of the server, such as 150004 for 15.4.
    var serverVersion: Int { Int(PQserverVersion(self.handle)) }
    /// The server process id that was reported on connect. A pooler reports a made-up one.
    var reportedBackendPID: Int { Int(PQbackendPID(self.handle)) }
    /// The encoding of the database, such as `UTF8`.
    var encoding: String { PQparameterStatus(self.handle, "server_encoding").map { String(cString: $0) } ?? "unknown" }
    /// Whether the connection uses TLS.
    var isEncrypted: Bool { PQsslInUse(self.handle) == 1 }
    /// The server's host name or address, or the directory of its Unix socket.
    var host: String { PQhost(self.handle).map { String(cString: $0) } ?? "" }
    var database: String { PQdb(self.handle).map { String(cString: $0) } ?? "" }
    var user: String { PQuser(self.handle).map { String(cString: $0) } ?? "" }

    // MARK: Blocking

    /// Runs any number of SQL statements without parameters. Blocks until they are done.
    /// - Returns: the last statement's result.
    @discardableResult
    func execute(_ sql: String) throws(PostgresError) -> ResultSet {
        let result = ResultSet(PQexec(self.handle, sql))
        if let error = result.error(on: self) { throw error }
        return result
    }

    /// Runs one statement with parameters. Blocks until it is done.
    /// - Throws: ``PostgresError`` if the statement failed.
    func execute(_ statement: Statement) throws(PostgresError) -> ResultSet {
        let result = statement.parameters.withPointers { count, types, values, lengths, formats in
            ResultSet(PQexecParams(self.handle, statement.sql, count, types, values, lengths, formats, 1))
        }
        if let error = result.error(on: self) { throw error }
        return result
    }

    /// Runs one statement. Blocks until it is done, but for at most `seconds`, because a server may accept a
    /// connection and never reply. The connection must not be used after a timeout.
    func execute(_ statement: Statement, within seconds: Int) throws(PostgresError) -> ResultSet {
        guard self.send(statement) else { throw PostgresError(.connection, "the connection to the database was lost") }
        let deadline = ContinuousClock.now + .seconds(seconds)
        while true {
            guard self.consume() else { throw PostgresError(.connection, "the connection to the database was lost") }
            if PQisBusy(self.handle) == 0 { break }
            let remaining = (deadline - .now).components.seconds * 1_000 + 50
            var descriptor = pollfd(fd: self.socket, events: Int16(POLLIN), revents: 0)
            guard ContinuousClock.now < deadline, poll(&descriptor, 1, Int32(max(1, remaining))) >= 0 else {
                throw PostgresError(
                    .timeout, "the database accepted the connection but did not reply within \(seconds) s")
            }
        }
        let result = ResultSet(PQgetResult(self.handle))
        while let extra = PQgetResult(self.handle) { PQclear(extra) }
        if let error = result.error(on: self) { throw error }
        return result
    }

    // MARK: Pipelining

    /// Switches to non-blocking pipeline mode, in which several statements may be in flight.
    func enterPipeline() throws(PostgresError) {
        guard PQsetnonblocking(self.handle, 1) == 0, PQenterPipelineMode(self.handle) == 1 else {
            throw PostgresError(.connection, "cannot switch the database connection to pipeline mode")
        }
    }

    /// Queues the preparation of a statement under a name that is unique on this connection.
    /// - Returns: whether libpq accepted it; `false` if the connection is lost.
    func prepare(_ statement: Statement, as name: String) -> Bool {
        statement.parameters.withPointers { count, types, _, _, _ in
            PQsendPrepare(self.handle, name, statement.sql, count, types) == 1
        }
    }

    /// Queues the execution of a prepared statement.
    /// - Returns: whether libpq accepted it; `false` if the connection is lost.
    func send(_ statement: Statement, preparedAs name: String) -> Bool {
        statement.parameters.withPointers { count, _, values, lengths, formats in
            PQsendQueryPrepared(self.handle, name, count, values, lengths, formats, 1) == 1
        }
    }

    /// Queues one statement that is not prepared.
    /// - Returns: whether libpq accepted it; `false` if the connection is lost.
    func send(_ statement: Statement) -> Bool {
        statement.parameters.withPointers { count, types, values, lengths, formats in
            PQsendQueryParams(self.handle, statement.sql, count, types, values, lengths, formats, 1) == 1
        }
    }

    /// Queues a sync message, which ends a unit: the statements queued since the previous sync message form one
    /// implicit transaction.
    /// - Returns: whether libpq accepted it; `false` if the connection is lost.
    func sync() -> Bool { PQpipelineSync(self.handle) == 1 }

    /// Sends queued data.
    /// - Returns: `true` if everything was sent, `false` if the socket accepts no more at present, `nil` if the
    ///   connection is lost.
    func flush() -> Bool? {
        switch PQflush(self.handle) {
        case 0: true
        case 1: false
        default: nil
        }
    }

    /// Reads the available data from the socket into libpq's buffer.
    /// - Returns: whether the connection is alive.
    func consume() -> Bool { PQconsumeInput(self.handle) == 1 }

    /// What ``nextReply()`` finds in the server's replies.
    enum Reply {
        /// No complete reply was received yet.
        case none
        /// The end of one statement's results.
        case separator
        /// The result of one statement.
        case result(ResultSet)
        /// The end of all replies to one unit.
        case sync
    }

    /// Removes and returns the next reply from libpq's buffer, without blocking.
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

/// Null-terminated arrays of C strings, valid during a call.
private enum CStrings {
    /// Calls the body with the strings as a null-terminated array of C strings, which is valid during the call only.
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
                // `list` is not empty, because it contains the terminating null pointer.
                list.baseAddress.map(body)
            }
        } ?? body([nil])
    }
}
