import FlowCore
import FlowEmbedded
import FlowHTTP
import FlowObjects
import FlowPostgres
import FlowRedis

/// The configuration of a hub instance. The values here are the defaults; ``Setting/all`` lists the settings.
struct HubConfiguration {
    var http = HTTPConfiguration()
    var streams = StreamConfiguration()
    var access = AccessConfiguration()
    var background = BackgroundTasks.Configuration()
    /// Limits of the queues and batches of the store, embedded or Postgres.
    var store = StoreLimits()
    /// Postgres as the store; `nil`: the embedded store.
    var postgres: PostgresSettings?
    /// Time in seconds for which `serve` waits for an unavailable database before it listens; 0: it does not wait.
    var postgresStartSeconds = 60
    /// Redis as the bus between instances; `nil`: an instance finds the commits of others only with its version sweep.
    var redis: RedisSettings?
    /// The setting that ``redis`` is from.
    var redisKey = ""
    /// Whether Redis is used if it is configured (`REDIS_ENABLED`).
    var isRedisEnabled = true
    var redisServices = RedisServices.Configuration()
    /// R2 as the object store of imports; `nil`: a directory next to the embedded store, or with Postgres database rows.
    var r2: R2Settings?
    /// Whether new imports are stored as objects (`R2_ENABLED`); `false`: as database rows. Objects are read in both cases.
    var isR2Enabled = true
    /// Why ``r2`` is `nil` with `R2_ENABLED=false` although there are settings of R2; else `nil`.
    var unusableR2: String?
    /// Policy for foreign messages (published on Redis by processes other than hub instances): the raw value of a
    /// ``ForeignPolicy``, or `auto`. Sets `redisServices.foreign`.
    var foreignUpdates = "auto"
    /// Account of the legacy service's data and messages, with keys (`FLOWHUB_SEED_ACCOUNT`). Copied to
    /// `redisServices.foreignAccount`.
    var foreignAccount: String?
    /// Limits of the foreign updates that an instance keeps.
    var foreignLimits = ForeignUpdateApplier.Limits()
    /// Whether mappings that the legacy service wrote are mapping patterns of that account.
    var acceptsSeedPatterns = true
    /// Whether `serve` applies missing migrations to Postgres before it listens.
    var migrates = true
    /// Whether Postgres keeps commits in an outbox until they are published: `on`, `off`, or `auto` (on if Redis is
    /// configured).
    var outbox = "auto"
    /// Directory of the embedded store.
    var dataDirectory = "./flowhub-data"
    /// Name of this instance in the registry; if empty, `serve` chooses a random one.
    var instance = ""
    var logLevel = "info"
    var logFormat = "text"
    /// Maximum log lines that wait to be written.
    var logLines = 10_000
    /// Raw value of the ``AccessLogScope``. Copied to `http.accessLog`.
    var accessLog = AccessLogScope.off.rawValue
    /// Maximum bytes of the flow states that are cached in memory.
    var cacheBytes = 67_108_864
    /// Age in milliseconds from which a state in memory is compared with Postgres before GET answers with it. Below the promised
    /// second by what the query and the network take.
    var stateAgeMilliseconds: Int64 = 800
    /// Limits of the mapping patterns (cached field mappings).
    var patterns = MappingPatternLimits()
    /// Limits of the held locks.
    var locks = LockLimits()

    var imports = ImportConfiguration()
    /// Path of the file of import keys; `nil`: nothing is encrypted.
    var importKeysPath: String?
    /// Intervals and ages of the tasks that one instance at a time runs.
    var tasks = ScheduledTaskConfiguration()
    /// Maximum bytes of the samples and schema analyses of imports that a hub caches in memory.
    var importCacheBytes = 16_777_216
    /// Compression level of libdeflate, 1 to 12.
    var compressionLevel = 1
    /// Number of low-priority threads for import work; 0: one per core.
    var bulkThreads = 0
    /// Time in seconds that the result of `/health/storage` stays cached.
    var storageHealthSeconds: Int64 = 5

    /// A setting with an invalid value, or an unknown setting.
    struct Invalid: Error, CustomStringConvertible {
        var key: String
        var problem: String

        var description: String { "\(self.key): \(self.problem)" }
    }

    /// Reads the configuration.
    /// - Parameter environment: unknown names that start with `FLOWHUB_` are an error, because they usually are misspelled.
    /// - Throws: ``Invalid`` for the first invalid setting.
    init(environment: [String: String]) throws {
        if let url = environment["DATABASE_URL"], !url.isEmpty {
            let settings = PostgresSettings(url: url)
            do { try settings.check() } catch { throw Invalid(key: "DATABASE_URL", problem: "\(error)") }
            self.postgres = settings
            // Without a bus, the version sweep delivers the commits of other instances: run it every second.
            self.background.sweepSeconds = 1
        }
        try self.readRedis(environment)
        try self.readR2(environment)
        // With Redis, the version sweep is needed only for lost messages, so its longer default interval suffices.
        // BackgroundTasks shortens the interval while Redis is unavailable.
        if self.redis != nil { self.background.sweepSeconds = BackgroundTasks.Configuration().sweepSeconds }
        for setting in Setting.all {
            guard let text = environment[setting.key] else { continue }
            try setting.apply(&self, text)
        }
        if !self.isRedisEnabled { self.redis = nil }
        if !self.isR2Enabled { self.imports.objectShare = 0 }
        if self.importKeysPath?.isEmpty == true { self.importKeysPath = nil }
        if !self.instance.isEmpty, ConnectionID("\(self.instance).0") == nil || self.instance == "all" {
            throw Invalid(key: "FLOWHUB_INSTANCE", problem: "must be 1 to 64 characters of A-Za-z0-9_.:- and not \"all\"")
        }
        self.http.accessLog = AccessLogScope(rawValue: self.accessLog) ?? .off
        try self.completeForeign()
        let known = Set(Setting.all.map(\.key)).union(Setting.forCommands)
        for key in environment.keys.sorted() where key.hasPrefix("FLOWHUB_") && !known.contains(key) {
            throw Invalid(key: key, problem: "unknown setting. `flowhub settings` lists all settings.")
        }
        self.streams.page.bytes = min(self.streams.page.bytes, self.streams.maximumQueuedBytesPerSubscriber)
        self.http.changeLimits.maximumDepth = self.http.maximumJSONDepth
        self.imports.limits.jsonDepth = self.http.maximumJSONDepth
        self.background.retention.revocationSeconds = self.access.revocationSeconds
        // Without token keys there is only one account, so it may use what the instance has for all.
        if self.access.isOpen {
            if environment["FLOWHUB_MAX_ACCOUNT_IMPORTS"] == nil {
                self.imports.maximumAccountImports = self.imports.maximumImports
            }
            if environment["FLOWHUB_MAX_ACCOUNT_LOCKS"] == nil { self.locks.accountLocks = self.locks.locks }
            if environment["FLOWHUB_MAX_ACCOUNT_PATTERNS"] == nil { self.patterns.accountPatterns = self.patterns.patterns }
            if environment["FLOWHUB_MAX_ACCOUNT_PATTERN_BYTES"] == nil { self.patterns.accountBytes = self.patterns.bytes }
        }
        self.redisServices.locks = self.locks
        self.redisServices.patterns = self.patterns
        if self.acceptsSeedPatterns { self.redisServices.legacyPatternBytes = self.http.maximumPatternBytes }
        self.completeByteLimits(environment)
    }

    /// Sets the limits of bytes and changes of one account that are not configured, and raises those below the largest request body, which
    /// could otherwise never be accepted.
    private mutating func completeByteLimits(_ environment: [String: String]) {
        let share = self.access.isOpen ? 1 : 2
        if environment["FLOWHUB_MAX_ACCOUNT_BODY_BYTES"] == nil {
            self.http.maximumAccountBodyBytes = self.http.maximumTotalBodyBytes / share
        }
        if environment["FLOWHUB_MAX_ACCOUNT_RESPONSE_BYTES"] == nil {
            self.http.maximumAccountResponseBytes = self.http.maximumTotalResponseBytes / share
        }
        if environment["FLOWHUB_MAX_ACCOUNT_WAITING_CHANGES"] == nil {
            self.store.accountWaitingChanges = max(1, self.store.waitingChanges / share)
        }
        if environment["FLOWHUB_MAX_ACCOUNT_WAITING_BYTES"] == nil {
            self.store.accountWaitingBytes = self.store.waitingBytes / share
        }
        let largest = max(self.http.maximumBodyBytes, self.http.importBufferBytes)
        self.http.maximumTotalBodyBytes = max(self.http.maximumTotalBodyBytes, largest)
        self.http.maximumAccountBodyBytes = max(self.http.maximumAccountBodyBytes, largest)
    }

    /// Sets the account and the policy of foreign messages. Without keys their account is the only one.
    private mutating func completeForeign() throws {
        if self.access.isOpen, let account = self.foreignAccount, account != Principal.open.account {
            throw Invalid(
                key: "FLOWHUB_SEED_ACCOUNT",
                problem: "needs FLOWHUB_JWT_KEY or FLOWHUB_JWKS: without keys there is only the account 0")
        }
        if let account = self.foreignAccount, !Principal.isValidAccount(account) {
            throw Invalid(key: "FLOWHUB_SEED_ACCOUNT", problem: "must be a client_account_id of your tokens")
        }
        self.redisServices.foreignAccount = self.foreignAccount ?? (self.access.isOpen ? Principal.open.account : "")
        // Whoever may publish on Redis may then change the flows of this account, which an operator with keys must have named.
        let automatic = self.redisServices.foreignAccount.isEmpty ? ForeignPolicy.deliver : .apply
        self.redisServices.foreign = ForeignPolicy(rawValue: self.foreignUpdates) ?? automatic
        // An update that is kept for longer than the reply to its change could be applied a second time.
        self.foreignLimits.recentSeconds = min(
            self.foreignLimits.recentSeconds, Int(clamping: self.background.retention.replySeconds))
    }

    init() {}

    /// Reads the settings of R2. With `R2_ENABLED=false`, which must help also if R2 itself is at fault, invalid ones are no
    /// error.
    private mutating func readR2(_ environment: [String: String]) throws {
        do throws(R2SettingsError) {
            self.r2 = try R2Settings.read { environment[$0] }
        } catch {
            guard Setting.isOff(environment["R2_ENABLED"]) else { throw Invalid(key: error.key, problem: error.problem) }
            self.unusableR2 = "\(error.key) \(error.problem)"
        }
    }

    /// Reads `REDIS_URL` or, if it is not set, the URL and the token of an Upstash database, unless `REDIS_ENABLED` is false.
    /// - Throws: ``Invalid`` also for a token without its URL and a URL without its token, whichever URL is used.
    private mutating func readRedis(_ environment: [String: String]) throws {
        guard !Setting.isOff(environment["REDIS_ENABLED"]) else { return }
        func text(_ key: String) -> String? { environment[key].flatMap { $0.isEmpty ? nil : $0 } }
        var found: [(key: String, settings: RedisSettings)] = []
        if let url = text("REDIS_URL") {
            do { found.append(("REDIS_URL", try RedisSettings(url: url))) } catch {
                throw Invalid(key: "REDIS_URL", problem: "\(error)")
            }
        }
        for prefix in ["UPSTASH_REDIS", "UPSTASH_REDIS_REST"] {
            let (urlKey, tokenKey) = ("\(prefix)_URL", "\(prefix)_TOKEN")
            guard let url = text(urlKey) else {
                guard text(tokenKey) == nil else {
                    throw Invalid(
                        key: urlKey,
                        problem: "is not set, but \(tokenKey) is. Set both to the values of the Upstash database, or neither.")
                }
                continue
            }
            do {
                found.append((urlKey, try RedisSettings(upstash: url, token: text(tokenKey), urlKey: urlKey, tokenKey: tokenKey)))
            } catch {
                throw Invalid(key: urlKey, problem: "\(error)")
            }
        }
        self.redis = found.first?.settings
        self.redisKey = found.first?.key ?? ""
    }
}
