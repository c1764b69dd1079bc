import CPostgres

/// Where the database is and how long what may take.
public struct PostgresSettings: Sendable {
    /// `postgres://user:password@host:port/database?sslmode=verify-full…`, or libpq's `key=value` form. What it says goes before
    /// the defaults below.
    public var url: String
    /// Seconds to reach one address.
    public var connectSeconds = 5
    /// Seconds that a statement may run; the server stops it then.
    public var statementSeconds = 10
    /// Seconds to wait for somebody else's lock.
    public var lockSeconds = 5
    /// Seconds to wait for a free connection.
    public var acquireSeconds = 5
    /// What the server's lists of connections show.
    public var applicationName = "flowhub"
    /// Connections for changes; each writes one batch at a time. More than two rarely gain: they wait for each other's rows.
    public var changeConnections = 2
    /// Connections for states, heads and lists, each with several statements under way.
    public var readConnections = 3
    /// Connections for pages of history, so that readers far behind do not keep the others waiting.
    public var pageConnections = 2
    /// Connections for the records of imports, which come and go by the thousand.
    public var importConnections = 2
    /// Connections for everything else: the epoch, revocations, locks, the relay, pruning.
    public var choreConnections = 1

    public init(url: String) { self.url = url }

    /// Whether libpq can make sense of ``url``. In words of our own: libpq's would quote the password.
    public func check() throws(PostgresError) {
        let isURI = self.url.hasPrefix("postgres://") || self.url.hasPrefix("postgresql://")
        guard isURI || self.url.contains("=") else { throw .badURL }
        var message: UnsafeMutablePointer<CChar>?
        let options = PQconninfoParse(self.url, &message)
        PQfreemem(message)
        guard let options else { throw .badURL }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val, String(cString: keyword) == "port" {
                // Where a password holds a slash, the port is what comes before it.
                guard String(cString: value).utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2c }) else { throw .badURL }
            }
            option += 1
        }
    }

    /// For `PQconnectdbParams`, later ones first. A pooler refuses start-up parameters that it does not know: what is not here
    /// is set on the connection, or in each transaction.
    var keywords: [(String, String)] {
        [
            ("application_name", self.applicationName),
            ("connect_timeout", "\(self.connectSeconds)"),
            ("keepalives", "1"), ("keepalives_idle", "15"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "10000"),
            ("dbname", self.url),
            // Not negotiable: everything here is UTF-8.
            ("client_encoding", "UTF8"),
        ]
    }
}
