import FlowCore
import FlowEmbedded
import FlowHTTP
import FlowObjects
import FlowPostgres
import FlowRedis

/// Everything that can be set. The values here are the defaults; ``Setting/all`` names the keys.
struct HubConfiguration {
    var http = HTTPConfiguration()
    var streams = StreamConfiguration()
    var access = AccessConfiguration()
    var loop = BackgroundTasks.Configuration()
    /// Of either store.
    var store = StoreLimits()
    /// Postgres, where the truth is; the embedded store if there is none.
    var postgres: PostgresSettings?
    /// Redis, which makes several instances fast; without one the sweep delivers between them.
    var redis: RedisSettings?
    var isRedisEnabled = true
    var redisServices = RedisServices.Configuration()
    /// R2, where imports go; without it they go to the folder, or stay in Postgres.
    var r2: R2Settings?
    var isR2Enabled = true
    /// What becomes of messages that services publish in the seed's format.
    var seedUpdates = "deliver"
    /// Whether `serve` brings the database's schema up to date before it listens.
    var migrates = true
    /// Whether commits are noted until a bus has taken them: `auto` if one reaches other instances.
    var outbox = "auto"
    /// Where the embedded store keeps its files.
    var dataDirectory = "./flowhub-data"
    /// This process's name in the registry; made up at the start unless given.
    var instance = ""
    var logLevel = "info"
    var logFormat = "text"
    /// The most memory that states kept for reading may take.
    var cacheBytes = 67_108_864
    /// Of the mapping patterns in memory.
    var patterns = MemoryMappingPatternStore.Limits()

    var imports = ImportConfiguration()
    /// Of samples and schemas in memory.
    var importCacheBytes = 16_777_216
    /// libdeflate's level.
    var packLevel = 1
    /// Threads for bulk work; 0 is one a core.
    var bulkThreads = 0
    var storageHealthSeconds: Int64 = 5

    /// A value that cannot be used, and what to do about it.
    struct Invalid: Error, CustomStringConvertible {
        var key: String
        var problem: String

        var description: String { "\(self.key): \(self.problem)" }
    }

    /// - Parameter environment: names that begin with FLOWHUB_ and are no setting are refused, since they are typing
    ///   errors most of the time.
    init(environment: [String: String]) throws {
        if let url = environment["DATABASE_URL"], !url.isEmpty {
            let settings = PostgresSettings(url: url)
            do { try settings.check() } catch { throw Invalid(key: "DATABASE_URL", problem: "\(error)") }
            self.postgres = settings
            // Without a bus between the instances it is the sweep that delivers what another one took.
            self.loop.sweepSeconds = 1
        }
        try self.readRedis(environment)
        try self.readR2(environment)
        // Redis tells of every change, and the sweep looks after it; it goes by the second only while Redis is away.
        if self.redis != nil { self.loop.sweepSeconds = BackgroundTasks.Configuration().sweepSeconds }
        for setting in Setting.all {
            guard let text = environment[setting.key] else { continue }
            try setting.apply(&self, text)
        }
        if !self.isRedisEnabled { self.redis = nil }
        if !self.isR2Enabled { self.r2 = nil }
        if !self.instance.isEmpty, ConnectionID("\(self.instance).0") == nil || self.instance == "all" {
            throw Invalid(key: "FLOWHUB_INSTANCE", problem: "must be 1 to 64 of A-Za-z0-9_.:- and not \"all\"")
        }
        self.redisServices.foreign = ForeignPolicy(rawValue: self.seedUpdates) ?? .deliver
        let known = Set(Setting.all.map(\.key)).union(Setting.forCommands)
        for key in environment.keys.sorted() where key.hasPrefix("FLOWHUB_") && !known.contains(key) {
            throw Invalid(key: key, problem: "is no setting of FlowHub. `flowhub settings` lists them all.")
        }
        self.streams.page.bytes = min(self.streams.page.bytes, self.streams.maximumQueuedBytesPerSubscriber)
        self.http.changeLimits.maximumDepth = self.http.maximumJSONDepth
        self.imports.limits.jsonDepth = self.http.maximumJSONDepth
        // Everybody is one account then, and there is nobody to leave room for.
        if self.access.isOpen, environment["FLOWHUB_MAX_ACCOUNT_IMPORTS"] == nil {
            self.imports.maximumAccountImports = self.imports.maximumImports
        }
    }

    init() {}

    private mutating func readR2(_ environment: [String: String]) throws {
        guard !Setting.isOff(environment["R2_ENABLED"]) else { return }
        do throws(R2SettingsError) {
            self.r2 = try R2Settings.read { environment[$0] }
        } catch {
            throw Invalid(key: error.key, problem: error.problem)
        }
    }

    /// `REDIS_URL`, or Upstash's pair of an address and a token.
    private mutating func readRedis(_ environment: [String: String]) throws {
        guard !Setting.isOff(environment["REDIS_ENABLED"]) else { return }
        do throws(RedisError) {
            if let url = environment["REDIS_URL"], !url.isEmpty {
                self.redis = try RedisSettings(url: url)
            } else if let url = environment["UPSTASH_REDIS_URL"], !url.isEmpty {
                self.redis = try RedisSettings(upstash: url, token: environment["UPSTASH_REDIS_TOKEN"] ?? "")
            }
        } catch {
            throw Invalid(
                key: environment["REDIS_URL"]?.isEmpty == false ? "REDIS_URL" : "UPSTASH_REDIS_URL", problem: "\(error)")
        }
    }
}
