/// Translation of the database URLs of other drivers (SQLAlchemy, asyncpg, JDBC, node-postgres, Prisma) into the form of libpq.
enum DatabaseURL {
    /// Parameters of other drivers about their own pools and caches. They have no meaning for the hub, which detects a pooler
    /// itself.
    private static let ignored: Set<String> = [
        "prepared_statement_cache_size", "statement_cache_size", "command_timeout", "pgbouncer", "connection_limit",
        "pool_timeout",
    ]
    /// Values of `ssl` that are values of libpq's `sslmode`.
    private static let modes: Set<String> = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

    /// The URL in libpq's form: without a driver in its scheme (`postgresql+asyncpg://`), with `sslmode` in place of `ssl`, and
    /// without parameters that only other drivers know. A text that is not such a URL is returned unchanged.
    static func libpq(_ url: String) -> String {
        guard let separator = url.firstRange(of: "://") else { return url }
        let scheme = url[..<separator.lowerBound].lowercased().split(separator: "+", omittingEmptySubsequences: false)
        guard scheme.count <= 2, let name = scheme.first, name == "postgres" || name == "postgresql" else { return url }
        let rest = url[separator.upperBound...]
        guard let query = Self.query(of: rest) else { return "postgresql://\(rest)" }
        let parameters = Self.parameters(rest[rest.index(after: query)...])
        return "postgresql://\(rest[..<query])" + (parameters.isEmpty ? "" : "?" + parameters.joined(separator: "&"))
    }

    /// The position of the `?` before the parameters, as libpq finds it: a `?` in the user or the password is none.
    private static func query(of rest: Substring) -> Substring.Index? {
        var start = rest.startIndex
        if let end = rest.firstIndex(where: { $0 == "@" || $0 == "/" }), rest[end] == "@" { start = end }
        return rest[start...].firstIndex(of: "?")
    }

    private static func parameters(_ text: Substring) -> [Substring] {
        let all = text.split(separator: "&")
        let hasMode = all.contains { $0.hasPrefix("sslmode=") }
        return all.compactMap { parameter in
            guard let equals = parameter.firstIndex(of: "=") else { return parameter }
            let value = parameter[parameter.index(after: equals)...]
            switch String(parameter[..<equals]) {
            case let key where Self.ignored.contains(key): return nil
            // asyncpg's timeout of a connection attempt.
            case "timeout": return "connect_timeout=\(value)"
            case "ssl": return hasMode ? nil : Self.mode(value.lowercased()).map { "sslmode=\($0)" } ?? parameter
            default: return parameter
            }
        }
    }

    /// The `sslmode` that a value of `ssl` means; `nil` for a value that no driver has. `true` is `require`, as libpq itself
    /// reads JDBC's `ssl=true`.
    private static func mode(_ value: String) -> String? {
        switch value {
        case "true", "1", "on", "yes": "require"
        case "false", "0", "off", "no": "disable"
        default: Self.modes.contains(value) ? value : nil
        }
    }
}
