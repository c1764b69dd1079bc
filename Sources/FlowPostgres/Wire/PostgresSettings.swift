import CPostgres

/// Address, time limits and numbers of connections of the database.
public struct PostgresSettings: Sendable {
    /// `postgresql://user:password@host:port/database?sslmode=verify-full…`, or libpq's `key=value` form. Its
    /// parameters override the defaults below.
    let url: String
    /// Schema of the hub's own tables (`FLOWHUB_PG_SCHEMA`); `nil`: the first one of the user's `search_path`, as for the
    /// import tables.
    public var schema: String?
    /// Timeout in seconds for connecting to one address.
    public var connectSeconds = 5
    /// Statement timeout in seconds, after which the server cancels the statement.
    public var statementSeconds = 10
    /// Timeout in seconds of the wait for a row or table lock that another transaction holds.
    public var lockSeconds = 5
    /// Timeout in seconds of the wait for a free pool connection.
    public var acquireSeconds = 5
    /// Name of the hub in `pg_stat_activity`.
    public var applicationName = "flowhub"
    /// Connections for changes; each writes one batch at a time. More than two rarely help, because batches wait for
    /// each other's row locks.
    public var changeConnections = 2
    /// Connections for states, heads and lists; each has several statements in flight.
    public var readConnections = 3
    /// Connections for history pages. Separate, so that subscribers that replay much history do not delay other reads.
    public var pageConnections = 2
    /// Connections for records of imports. Separate, because one import has thousands of them.
    public var importConnections = 2
    /// Connections for everything else: the epoch, revocations, locks, the import ledger's changes, and the outbox
    /// relay. Pruning has one more connection of its own.
    public var controlConnections = 1

    /// - Parameter url: a URL in libpq's form or that of another driver, such as `postgresql+asyncpg://…?ssl=require`, or
    ///   libpq's `key=value` form. ``check()`` tells whether it is valid.
    public init(url: String) { self.url = DatabaseURL.libpq(url) }

    /// Whether a text can be the name of the hub's schema: one that needs no quotes in SQL and is not reserved.
    public static func isSchema(_ name: String) -> Bool {
        guard let first = name.utf8.first, (1...63).contains(name.utf8.count), !name.hasPrefix("pg_") else { return false }
        let isLetter = { (byte: UInt8) in (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || byte == UInt8(ascii: "_") }
        return isLetter(first)
            && name.utf8.allSatisfy { isLetter($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    /// Checks that libpq can parse ``url``. The error does not include libpq's message, which would quote the
    /// password.
    /// - Throws: ``PostgresError/badURL``.
    public func check() throws(PostgresError) {
        let isURI = self.url.hasPrefix("postgres://") || self.url.hasPrefix("postgresql://")
        guard isURI || self.url.contains("=") else { throw .badURL }
        guard let options = self.options() else { throw .badURL }
        // If a password contains an unescaped slash, the text before it is parsed as the port.
        guard (options["port"] ?? "").utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2c }) else { throw .badURL }
    }

    /// User, host, port and database of the URL, and the schema, for people. Without the password. What the URL leaves to libpq's
    /// environment variables is missing.
    public var summary: String {
        let options = self.options() ?? [:]
        let host = options["host"] ?? options["hostaddr"] ?? ""
        let user = options["user"].map { "\($0)@" } ?? ""
        let port = options["port"].map { ":\($0)" } ?? ""
        let schema = self.schema.map { ", schema \($0)" } ?? ""
        return user + (host.contains(":") ? "[\(host)]" : host) + port + "/" + (options["dbname"] ?? "") + schema
    }

    /// The parameters that ``url`` sets; `nil` if libpq cannot parse it.
    private func options() -> [String: String]? {
        var message: UnsafeMutablePointer<CChar>?
        let options = PQconninfoParse(self.url, &message)
        PQfreemem(message)
        guard let options else { return nil }
        defer { PQconninfoFree(options) }
        var found: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { found[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return found
    }

    /// Parameters for `PQconnectdbParams`; later ones override earlier ones. A pooler rejects unknown start-up
    /// parameters, so other settings are made on the connection or in each transaction.
    var keywords: [(String, String)] {
        [
            ("application_name", self.applicationName),
            ("connect_timeout", "\(self.connectSeconds)"),
            ("keepalives", "1"), ("keepalives_idle", "15"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "10000"),
            ("dbname", self.url),
            // After the URL, so that the URL cannot override it: the hub sends and expects UTF-8.
            ("client_encoding", "UTF8"),
        ]
    }
}
