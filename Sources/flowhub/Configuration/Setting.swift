import FlowCore
import FlowHTTP
import FlowObjects
import FlowPostgres
import FlowRedis

/// One setting: its environment variable, description, default, allowed values, and how its text is parsed.
struct Setting: Sendable {
    let key: String
    let summary: String
    /// The default as text; empty if there is none.
    let defaultText: String
    /// The allowed values, as text for people.
    let range: String
    /// Whether the value is a secret, such as a key, a token or a URL with a password.
    let isSecret: Bool
    /// Parses the text and sets the value in the configuration. Throws ``HubConfiguration/Invalid`` for an invalid text.
    let apply: @Sendable (inout HubConfiguration, String) throws -> Void

    /// Environment variables of client commands and tests. `serve` must not reject them as unknown settings.
    static let forCommands: Set<String> = [
        "FLOWHUB_LOCK_RESOURCE", "FLOWHUB_LOCK_ID", "FLOWHUB_FENCING_TOKEN", "FLOWHUB_URL", "FLOWHUB_TOKEN", "FLOWHUB_TEST_FULL",
        "FLOWHUB_TEST_TOOLS",
        "FLOWHUB_TEST_PYTHON",
        "FLOWHUB_FAILPOINT",
    ]

    // MARK: Kinds

    /// A setting that is a whole number. `path`: the property that it sets, whose initial value is the default.
    static func number<Value: FixedWidthInteger & Sendable>(
        _ key: String, _ path: any WritableKeyPath<HubConfiguration, Value> & Sendable, _ range: ClosedRange<Value>,
        _ summary: String,
        defaultText: String? = nil
    ) -> Setting {
        Setting(
            key: key, summary: summary, defaultText: defaultText ?? "\(HubConfiguration()[keyPath: path])",
            range: "\(range.lowerBound) to \(range.upperBound)", isSecret: false
        ) { configuration, text in
            guard let value = Value(text), range.contains(value) else {
                throw HubConfiguration.Invalid(
                    key: key, problem: "must be a whole number from \(range.lowerBound) to \(range.upperBound), not \"\(text)\"")
            }
            configuration[keyPath: path] = value
        }
    }

    /// A setting that is a whole number and has no default.
    static func optionalNumber(
        _ key: String, _ path: any WritableKeyPath<HubConfiguration, Int?> & Sendable, _ range: ClosedRange<Int>,
        _ summary: String
    ) -> Setting {
        Setting(
            key: key, summary: summary, defaultText: "", range: "\(range.lowerBound) to \(range.upperBound)", isSecret: false
        ) { configuration, text in
            guard let value = Int(text), range.contains(value) else {
                throw HubConfiguration.Invalid(
                    key: key, problem: "must be a whole number from \(range.lowerBound) to \(range.upperBound), not \"\(text)\"")
            }
            configuration[keyPath: path] = value
        }
    }

    /// A setting that is a decimal number from 0 to 1.
    static func fraction(
        _ key: String, _ path: any WritableKeyPath<HubConfiguration, Double> & Sendable, _ summary: String
    ) -> Setting {
        Setting(
            key: key, summary: summary, defaultText: "\(HubConfiguration()[keyPath: path])", range: "0 to 1", isSecret: false
        ) { configuration, text in
            guard let value = Double(text), (0...1).contains(value) else {
                throw HubConfiguration.Invalid(key: key, problem: "must be a number from 0 to 1, not \"\(text)\"")
            }
            configuration[keyPath: path] = value
        }
    }

    /// A setting that is any text. `path`: the property that it sets, whose initial value is the default.
    static func text(
        _ key: String, _ path: any WritableKeyPath<HubConfiguration, String> & Sendable, _ summary: String,
        defaultText: String? = nil
    ) -> Setting {
        Setting(
            key: key, summary: summary, defaultText: defaultText ?? HubConfiguration()[keyPath: path], range: "text",
            isSecret: false
        ) { configuration, text in
            configuration[keyPath: path] = text
        }
    }

    /// A setting that is any text and has no default.
    static func optional(
        _ key: String, _ path: any WritableKeyPath<HubConfiguration, String?> & Sendable, _ summary: String,
        isSecret: Bool = false
    ) -> Setting {
        Setting(key: key, summary: summary, defaultText: "", range: "text", isSecret: isSecret) { configuration, text in
            configuration[keyPath: path] = text
        }
    }

    /// A setting that is one of `choices`.
    static func choice(
        _ key: String, _ path: any WritableKeyPath<HubConfiguration, String> & Sendable, _ choices: [String], _ summary: String
    ) -> Setting {
        Setting(
            key: key, summary: summary, defaultText: HubConfiguration()[keyPath: path], range: choices.joined(separator: ", "),
            isSecret: false
        ) { configuration, text in
            guard choices.contains(text) else {
                throw HubConfiguration.Invalid(
                    key: key, problem: "must be one of \(choices.joined(separator: ", ")), not \"\(text)\"")
            }
            configuration[keyPath: path] = text
        }
    }

    /// A setting that is true or false, in any case: `true`, `1`, `yes`, `on`; `false`, `0`, `no`, `off`.
    static func flag(_ key: String, _ path: any WritableKeyPath<HubConfiguration, Bool> & Sendable, _ summary: String) -> Setting
    {
        Setting(
            key: key, summary: summary, defaultText: "\(HubConfiguration()[keyPath: path])", range: "true, false", isSecret: false
        ) { configuration, text in
            switch text.lowercased() {
            case "true", "1", "yes", "on": configuration[keyPath: path] = true
            case "false", "0", "no", "off": configuration[keyPath: path] = false
            default: throw HubConfiguration.Invalid(key: key, problem: "must be true or false, not \"\(text)\"")
            }
        }
    }

    /// The URL of Postgres. Without it the hub uses the embedded store in ``HubConfiguration/dataDirectory``. Only listed here:
    /// `HubConfiguration.init(environment:)` reads it before the other settings of Postgres.
    static let databaseURL = Setting(
        key: "DATABASE_URL",
        summary:
            "URL of Postgres: postgres://user:password@host/database?sslmode=verify-full, or libpq key=value. Without: SQLite.",
        defaultText: "", range: "text", isSecret: true
    ) { _, _ in }

    /// The schema of the hub's own tables in Postgres.
    static let databaseSchema = Setting(
        key: "FLOWHUB_PG_SCHEMA",
        summary:
            "Schema of the hub's own tables in Postgres, created if missing; data_imports and raw_import_records stay where they are.",
        defaultText: "first schema of search_path", range: "a name of a-z, 0-9 and _", isSecret: false
    ) { configuration, name in
        guard name.isEmpty || PostgresSettings.isSchema(name) else {
            throw HubConfiguration.Invalid(
                key: "FLOWHUB_PG_SCHEMA",
                problem:
                    "must be 1 to 63 characters of a-z, 0-9 and _, begin with a letter or _, and not with pg_; not \"\(name)\"")
        }
        configuration.postgres?.schema = name.isEmpty ? nil : name
    }

    /// Whether the text of a setting means false; `false` for `nil` (the setting is not set).
    static func isOff(_ text: String?) -> Bool { text.map { ["false", "0", "no", "off"].contains($0.lowercased()) } ?? false }

    /// A setting of Redis that is only listed here. `HubConfiguration.init(environment:)` reads it together with the others,
    /// because `REDIS_URL` takes precedence over the Upstash URLs.
    static func redisText(_ key: String, _ summary: String) -> Setting {
        Setting(key: key, summary: summary, defaultText: "", range: "text", isSecret: true) { _, _ in }
    }

    /// A setting that is a whole number in the Redis settings. It is checked also if Redis is not configured.
    static func redisNumber(
        _ key: String, _ path: any WritableKeyPath<RedisSettings, Int> & Sendable, _ range: ClosedRange<Int>, _ summary: String
    ) -> Setting {
        Setting(
            key: key, summary: summary, defaultText: "\(RedisSettings()[keyPath: path])",
            range: "\(range.lowerBound) to \(range.upperBound)", isSecret: false
        ) { configuration, text in
            guard let value = Int(text), range.contains(value) else {
                throw HubConfiguration.Invalid(
                    key: key, problem: "must be a whole number from \(range.lowerBound) to \(range.upperBound), not \"\(text)\"")
            }
            configuration.redis?[keyPath: path] = value
        }
    }

    /// A setting of R2 that is only listed here. `R2Settings.read` reads it together with the others, on which it depends.
    static func r2Text(_ key: String, _ summary: String, isSecret: Bool = false) -> Setting {
        Setting(key: key, summary: summary, defaultText: "", range: "text", isSecret: isSecret) { _, _ in }
    }

    /// A setting that is a whole number in the limits of R2. It is checked also if R2 is not configured.
    static func r2Number(
        _ key: String, _ path: any WritableKeyPath<R2Limits, Int> & Sendable, _ range: ClosedRange<Int>, _ summary: String
    ) -> Setting {
        Setting(
            key: key, summary: summary, defaultText: "\(R2Limits()[keyPath: path])",
            range: "\(range.lowerBound) to \(range.upperBound)", isSecret: false
        ) { configuration, text in
            guard let value = Int(text), range.contains(value) else {
                throw HubConfiguration.Invalid(
                    key: key, problem: "must be a whole number from \(range.lowerBound) to \(range.upperBound), not \"\(text)\"")
            }
            configuration.r2?.limits[keyPath: path] = value
        }
    }

    /// The file of certificates (PEM) that a `rediss://` connection trusts.
    static let redisAuthorities = Setting(
        key: "FLOWHUB_REDIS_CA",
        summary: "File of certificates (PEM) to trust for rediss:// instead of the system's certificates.",
        defaultText: "", range: "text", isSecret: false
    ) { configuration, path in configuration.redis?.authorities = path }

    /// A setting that is a whole number in the Postgres settings. It is checked also if Postgres is not configured.
    static func postgresNumber(
        _ key: String, _ path: any WritableKeyPath<PostgresSettings, Int> & Sendable, _ range: ClosedRange<Int>, _ summary: String
    ) -> Setting {
        Setting(
            key: key, summary: summary, defaultText: "\(PostgresSettings(url: "")[keyPath: path])",
            range: "\(range.lowerBound) to \(range.upperBound)", isSecret: false
        ) { configuration, text in
            guard let value = Int(text), range.contains(value) else {
                throw HubConfiguration.Invalid(
                    key: key, problem: "must be a whole number from \(range.lowerBound) to \(range.upperBound), not \"\(text)\"")
            }
            configuration.postgres?[keyPath: path] = value
        }
    }

    /// A setting that is a comma-separated list. Blanks around its entries are removed.
    static func list(_ key: String, _ path: any WritableKeyPath<HubConfiguration, [String]> & Sendable, _ summary: String)
        -> Setting
    {
        Setting(key: key, summary: summary, defaultText: "", range: "comma-separated list", isSecret: false) {
            configuration, text in
            configuration[keyPath: path] = text.split(separator: ",").map { entry in
                let trimmed = entry.drop { $0 == " " }
                return String(trimmed.reversed().drop { $0 == " " }.reversed())
            }
        }
    }
}
