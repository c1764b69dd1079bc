/// An error of Postgres or of the connection to it. The description names the cause, and the action if there is one; it
/// contains no SQL, values or credentials.
public struct PostgresError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of error, by which callers decide whether to retry.
    public struct Code: Hashable, Sendable {
        enum Value {
            case connection, credentials, timeout, busy, conflict, statement, readOnly, schema, data, aborted, closed, epoch
            case locked, url
        }
        let value: Value

        /// The connection failed or was lost.
        public static let connection = Code(value: .connection)
        /// The server rejected the login.
        public static let credentials = Code(value: .credentials)
        /// A connection attempt, a statement or the wait for other instances' migrations exceeded its time limit.
        public static let timeout = Code(value: .timeout)
        /// The server is out of resources, or no pool connection was free in time.
        public static let busy = Code(value: .busy)
        /// Conflict with a concurrent transaction, such as a deadlock or a duplicate key. A retry may succeed.
        public static let conflict = Code(value: .conflict)
        /// Another transaction holds a row or table lock for longer than the lock timeout.
        public static let locked = Code(value: .locked)
        /// DATABASE_URL cannot be parsed.
        public static let url = Code(value: .url)
        /// The server rejected a statement.
        public static let statement = Code(value: .statement)
        /// The server is read-only, such as a standby.
        public static let readOnly = Code(value: .readOnly)
        /// Tables or privileges are missing, or the schema does not match this binary.
        public static let schema = Code(value: .schema)
        /// The server rejected a value, such as text that its encoding cannot store.
        public static let data = Code(value: .data)
        /// The statement was skipped because an earlier statement of its unit failed.
        static let aborted = Code(value: .aborted)
        /// The store's epoch or timeline differs from the one that this process has adopted, or a flow's version is
        /// below one that this process has read or committed before.
        static let epoch = Code(value: .epoch)
        /// The pool was closed.
        public static let closed = Code(value: .closed)
    }

    public let code: Code
    /// The SQLSTATE; `nil` if the error is not from the server.
    public let state: String?
    public let description: String
    /// The server's message. It may quote values, so it is shown to users of commands only; only the messages of
    /// failed connection attempts are logged.
    public let serverMessage: String?
    /// Whether the server closed the connection with this error. Then the outcome of a write in flight is unknown.
    let isFatal: Bool

    init(
        _ code: Code, _ description: String, state: String? = nil, serverMessage: String? = nil, isFatal: Bool = false
    ) {
        self.code = code
        self.state = state
        self.description = description
        self.serverMessage = serverMessage
        self.isFatal = isFatal
    }

    /// Creates the error for a SQLSTATE of the server (PostgreSQL documentation, appendix A).
    init(state: String, severity: String, message: String, constraint: String?) {
        let isFatal = severity == "FATAL" || severity == "PANIC"
        let (code, text): (Code, String) =
            switch state {
            case "57014": (.timeout, "the database canceled a statement that exceeded its time limit")
            case "55P03": (.locked, "lock timeout: another transaction holds a row or table lock")
            case "40001", "40P01", "23505": (.conflict, "conflict with a concurrent transaction")
            case "25006": (.readOnly, "the database is read-only; DATABASE_URL must name the primary")
            case "55000" where message.contains("recovery"):
                (.readOnly, "the database is a standby; DATABASE_URL must name the primary")
            case "42P01", "42703", "3F000": (.schema, "tables or columns of the hub are missing; run `flowhub migrate`")
            case "42501":
                (.schema, "the database user lacks a privilege on the hub's tables; `flowhub doctor` shows which")
            case "28000", "28P01": (.credentials, "the database rejected the user or password")
            case "3D000": (.credentials, "the database does not exist")
            case "57P01", "57P02", "57P03": (.connection, "the database is shutting down or starting up")
            case "25P03", "57P05": (.connection, "the database closed an idle connection")
            default:
                switch state.prefix(2) {
                case "08": (.connection, "the connection to the database was lost")
                case "53": (.busy, "the database is out of resources (SQLSTATE \(state))")
                case "22", "23": (.data, "the database rejected a value (SQLSTATE \(state))")
                default: (.statement, "the database rejected a statement (SQLSTATE \(state))")
                }
            }
        self.init(code, text, state: state, serverMessage: message, isFatal: isFatal)
    }

    /// The store's epoch or timeline differs from the one that this process has adopted.
    static let epochChanged = PostgresError(.epoch, "the store's epoch has changed after a restore or a failover")
    /// A flow has a lower version than this process has read or committed before.
    static let storeRegressed = PostgresError(.epoch, "the database is older than changes committed before (restored?)")
    /// A database row lacks a value that the hub needs, or has a value that the hub cannot decode.
    static let unreadable = PostgresError(.schema, "the database contains a row that cannot be decoded")
    /// The value of DATABASE_URL cannot be parsed. The text follows the name of the setting.
    static let badURL = PostgresError(
        .url,
        "must have the form postgres://user:password@host:port/database?sslmode=… or host=… dbname=… . Write / @ : ? # % "
            + "in a password as %2F %40 %3A %3F %23 %25")
    /// A deferred change whose deadline has passed.
    static let rowLocked = PostgresError(.locked, "another transaction has locked the flow's row for too long")
    /// A change that was in conflict in each attempt.
    static let tooMuchContention = PostgresError(.conflict, "other instances changed the flow during every attempt")

    /// Whether a single change of a batch may have caused the error. The caller then divides the batch, so that the
    /// other changes do not fail with that one.
    var mayConcernOneOperation: Bool {
        switch self.code {
        case .conflict, .locked, .data, .statement: true
        default: false
        }
    }

    /// Whether a new connection may succeed where this one failed: the error is a property of the session or of its server
    /// process. A session that was opened while its role was read-only stays read-only after the role is not.
    var concernsConnection: Bool {
        if self.isFatal || self.code == .readOnly { return true }
        guard let state = self.state else { return false }
        return state.hasPrefix("08") || ["53300", "25P03", "57P01", "57P02", "57P03", "57P05"].contains(state)
    }

    /// Whether waiting may help: the server is unreachable, starts, ends, recovers, or has no connection left. Anything
    /// else is a mistake in the configuration or in the schema.
    public var isOutage: Bool {
        switch self.code {
        case .connection, .busy, .readOnly: true
        // Without a SQLSTATE: no reply in time. With one: the server has ended a statement.
        case .timeout: self.state == nil
        default: false
        }
    }

    /// Parts of the messages of failed connection attempts that only another configuration changes. libpq gives no SQLSTATE
    /// for a failed attempt, and a server may be set to another language; then the attempt counts as an outage.
    private static let rejections = [
        "authentication failed", "no pg_hba.conf entry", "does not exist", "no such database", "no such user",
        "not permitted to log in", "permission denied for database",
    ]
    private static let insecure = [
        "certificate verify failed", "does not match host name", "server does not support SSL", "sslmode value",
    ]

    /// Creates the error of a failed connection attempt. ``serverMessage`` is the first line of libpq's message, which
    /// names host, port and user for the operator.
    init(connecting message: String, needsPassword: Bool) {
        let line = message.split(separator: "\n").first.map(String.init) ?? "no reason given"
        if Self.insecure.contains(where: message.contains) {
            self.init(.credentials, "the connection to the database cannot be secured as configured", serverMessage: line)
        } else if needsPassword || Self.rejections.contains(where: message.contains) {
            self.init(.credentials, "the database rejected the login", serverMessage: line)
        } else {
            self.init(.connection, "cannot connect to the database", serverMessage: line)
        }
    }

    /// The description, followed by the server's message if there is one. Shown to users of commands, not to clients.
    public var explanation: String { self.serverMessage.map { "\(self.description): \($0)" } ?? self.description }
}
