/// What went wrong with Postgres. Its text says what kind of thing happened and what to do; it holds no SQL, no value and no
/// credential.
public struct PostgresError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable {
        enum Value {
            case connection, credentials, timeout, busy, conflict, statement, readOnly, schema, data, aborted, closed, epoch
            case locked, url
        }
        let value: Value

        /// Not reached, or lost.
        public static let connection = Code(value: .connection)
        /// Reached, but not let in.
        public static let credentials = Code(value: .credentials)
        /// It took longer than it may.
        public static let timeout = Code(value: .timeout)
        /// The server or the pool has no room just now.
        public static let busy = Code(value: .busy)
        /// Another transaction was in the way; trying again may help.
        public static let conflict = Code(value: .conflict)
        /// Somebody else holds the lock.
        public static let locked = Code(value: .locked)
        /// DATABASE_URL makes no sense.
        public static let url = Code(value: .url)
        /// A statement was refused.
        public static let statement = Code(value: .statement)
        /// The server takes no writes: a standby, or one that is being shut down.
        public static let readOnly = Code(value: .readOnly)
        /// Tables are missing or not as they should be.
        public static let schema = Code(value: .schema)
        /// A value was refused.
        public static let data = Code(value: .data)
        /// Passed over because a statement before it failed.
        static let aborted = Code(value: .aborted)
        /// The store's history is another one than the caller works under.
        static let epoch = Code(value: .epoch)
        /// The pool was closed.
        public static let closed = Code(value: .closed)
    }

    public let code: Code
    /// SQLSTATE, where the server gave one.
    public let state: String?
    public let description: String
    /// The server's own words. They may quote values, so they are for those who run a command, and for nobody's log.
    public let serverMessage: String?
    /// Whether the server ended the connection with it: of a write that was under way nobody can say whether it is durable.
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
            case "57014": (.timeout, "the database took too long")
            case "55P03": (.locked, "somebody else holds a lock on it")
            case "40001", "40P01", "23505": (.conflict, "another transaction was in the way")
            case "25006": (.readOnly, "the database takes no writes just now")
            case "55000" where message.contains("recovery"): (.readOnly, "the database is a standby")
            case "42P01", "42703", "3F000": (.schema, "tables of the hub are missing; run `flowhub migrate`")
            case "42501": (.schema, "the database user lacks a right on the hub's tables")
            case "28000", "28P01": (.credentials, "the database refused user or password")
            case "3D000": (.credentials, "there is no such database")
            case "57P01", "57P02", "57P03": (.connection, "the database is being stopped or started")
            default:
                switch state.prefix(2) {
                case "08": (.connection, "the connection to the database was lost")
                case "53": (.busy, "the database has no room left (SQLSTATE \(state))")
                case "22", "23": (.data, "the database refused a value (SQLSTATE \(state))")
                default: (.statement, "the database refused a statement (SQLSTATE \(state))")
                }
            }
        self.init(code, text, state: state, serverMessage: message, isFatal: isFatal)
    }

    static let epochChanged = PostgresError(.epoch, "the store's history is another one")
    static let wentBack = PostgresError(.epoch, "a flow is below the version that was committed")
    static let unreadable = PostgresError(.schema, "the database holds a row that cannot be read")
    static let badURL = PostgresError(
        .url,
        "is not of the form postgres://user:password@host:port/database?sslmode=… or host=… dbname=… . Write / @ : ? # % "
            + "in a password as %2F %40 %3A %3F %23 %25")
    static let rowHeld = PostgresError(.locked, "somebody else holds the flow's row")
    static let contended = PostgresError(.conflict, "too many others change the same flows just now")

    /// Whether one operation of a batch may be to blame, so that its neighbours are worth another try without it.
    var mayConcernOneOperation: Bool {
        switch self.code {
        case .conflict, .locked, .data, .statement: true
        default: false
        }
    }

    /// libpq's own words while it connects are the operator's: they name host, port and user.
    init(connecting message: String, needsPassword: Bool) {
        let line = message.split(separator: "\n").first.map(String.init) ?? "no reason given"
        let isRefusal =
            needsPassword || message.contains("authentication failed") || message.contains("no pg_hba.conf entry")
            || message.contains("does not exist")
        self.init(
            isRefusal ? .credentials : .connection,
            isRefusal ? "the database does not let the hub in" : "the database cannot be reached", serverMessage: line)
    }

    /// For whoever runs a command: with the server's words, where it said anything.
    public var explanation: String { self.serverMessage.map { "\(self.description): \($0)" } ?? self.description }
}
