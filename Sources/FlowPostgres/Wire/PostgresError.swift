/// An error of Postgres or of the connection to it. The description names the cause and the action; it contains no
/// SQL, values or credentials.
public struct PostgresError: Error, Hashable, Sendable, CustomStringConvertible {
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
        /// A time limit was exceeded.
        public static let timeout = Code(value: .timeout)
        /// The server is out of resources, or no pool connection was free in time.
        public static let busy = Code(value: .busy)
        /// Conflict with a concurrent transaction. A retry may succeed.
        public static let conflict = Code(value: .conflict)
        /// Another transaction holds the row or table lock.
        public static let locked = Code(value: .locked)
        /// DATABASE_URL cannot be parsed.
        public static let url = Code(value: .url)
        /// The server rejected a statement.
        public static let statement = Code(value: .statement)
        /// The server is read-only, such as a standby.
        public static let readOnly = Code(value: .readOnly)
        /// Tables or privileges are missing, or the schema does not match this binary.
        public static let schema = Code(value: .schema)
        /// The server rejected a value.
        public static let data = Code(value: .data)
        /// Skipped because an earlier statement of the unit failed.
        static let aborted = Code(value: .aborted)
        /// The store's epoch or timeline differs from the caller's.
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
    /// Whether the server closed the connection with this error. The outcome of a write that was in flight is unknown
    /// then.
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

    /// Maps SQLSTATE (PostgreSQL documentation, appendix A).
    init(state: String, severity: String, message: String, constraint: String?) {
        let isFatal = severity == "FATAL" || severity == "PANIC"
        let (code, text): (Code, String) =
            switch state {
            case "57014": (.timeout, "the database canceled the statement (time limit exceeded)")
            case "55P03": (.locked, "lock timeout: another transaction holds the lock")
            case "40001", "40P01", "23505": (.conflict, "conflict with a concurrent transaction")
            case "25006": (.readOnly, "the database is read-only")
            case "55000" where message.contains("recovery"): (.readOnly, "the database is a standby")
            case "42P01", "42703", "3F000": (.schema, "tables or columns of the hub are missing; run `flowhub migrate`")
            case "42501": (.schema, "the database user lacks a privilege on the hub's tables")
            case "28000", "28P01": (.credentials, "the database rejected the user or password")
            case "3D000": (.credentials, "the database does not exist")
            case "57P01", "57P02", "57P03": (.connection, "the database is shutting down or starting up")
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

    static let epochChanged = PostgresError(.epoch, "the epoch has changed")
    static let storeRegressed = PostgresError(.epoch, "the database is older than committed data")
    static let unreadable = PostgresError(.schema, "the database contains a row that cannot be decoded")
    static let badURL = PostgresError(
        .url,
        "must have the form postgres://user:password@host:port/database?sslmode=… or host=… dbname=… . Write / @ : ? # % "
            + "in a password as %2F %40 %3A %3F %23 %25")
    static let rowLocked = PostgresError(.locked, "the flow's row is locked by another transaction")
    static let tooMuchContention = PostgresError(.conflict, "too many conflicting changes")

    /// Whether a single operation of a batch may have caused the error. The others are then retried without it.
    var mayConcernOneOperation: Bool {
        switch self.code {
        case .conflict, .locked, .data, .statement: true
        default: false
        }
    }

    /// Creates the error of a failed connection attempt. libpq's message is kept for the operator: it names host,
    /// port and user.
    init(connecting message: String, needsPassword: Bool) {
        let line = message.split(separator: "\n").first.map(String.init) ?? "no reason given"
        let isRejected =
            needsPassword || message.contains("authentication failed") || message.contains("no pg_hba.conf entry")
            || message.contains("does not exist")
        self.init(
            isRejected ? .credentials : .connection,
            isRejected ? "the database rejected the login" : "cannot connect to the database", serverMessage: line)
    }

    /// The description with the server's message, if there is one. For users of commands.
    public var explanation: String { self.serverMessage.map { "\(self.description): \($0)" } ?? self.description }
}
