import FlowCore
import FlowEmbedded
import FlowHTTP
import FlowObjects
import FlowPostgres
import FlowRedis

extension Setting {
    /// All settings that the server reads, in the order of the documentation.
    static let all: [Setting] =
        Self.listening + Self.storage + Self.postgres + Self.redis + Self.redisUse + Self.r2 + Self.access + Self.streams
        + Self.requests
        + Self.byteBudgets + Self.locks + Self.patterns + Self.imports + Self.uploads + Self.accounts + Self.retention
        + Self.tasks + Self.logging

    private static let listening: [Setting] = [
        .text(
            "FLOWHUB_HOST", \.http.host,
            "Address to listen on; :: for all addresses, IPv6 and IPv4. Without a key (FLOWHUB_JWT_KEY, FLOWHUB_JWKS) only a loopback "
                + "address is accepted."),
        .number("PORT", \.http.port, 0...65_535, "Port to listen on; 0: a free port."),
        .text(
            "FLOWHUB_OPS_HOST", \.http.operationsHost,
            "Address for operations, used if FLOWHUB_OPS_PORT is set. No token is required there."),
        .optionalNumber(
            "FLOWHUB_OPS_PORT", \.http.operationsPort, 0...65_535,
            "Port for /metrics, /health/storage, /health/live and /health/ready; PORT then does not serve the first two."),
        .number(
            "FLOWHUB_EVENT_LOOPS", \.http.eventLoops, 0...256,
            "Number of event loop threads; 0: one per core that the process may use."),
        .text(
            "FLOWHUB_INSTANCE", \.instance,
            "Name of this instance in the registry of connections; must be unique among the running instances.",
            defaultText: "random"),
        .number(
            "FLOWHUB_DRAIN_SECONDS", \.http.drainSeconds, 0...3_600,
            "Time over which the hub spreads the closing of its streams after SIGTERM, in seconds."),
    ]

    private static let storage: [Setting] = [
        .text(
            "FLOWHUB_DATA", \.dataDirectory, "Directory of the embedded store, which the hub uses if DATABASE_URL is not set."),
        .number(
            "FLOWHUB_CACHE_BYTES", \.cacheBytes, 1_048_576...1_099_511_627_776,
            "Maximum bytes of flow states cached in memory; the least recently used are evicted."),
        .number(
            "FLOWHUB_STATE_AGE_MS", \.stateAgeMilliseconds, 0...60_000,
            "Age of a state in memory from which a GET compares it with Postgres, in milliseconds; 0: each GET does."),
        .number(
            "FLOWHUB_MAX_WAITING_CHANGES", \.store.waitingChanges, 1...1_000_000,
            "Maximum changes of flows that wait for the store or are in flight; further ones are rejected with 503."),
        .number(
            "FLOWHUB_MAX_WAITING_BYTES", \.store.waitingBytes, 1_048_576...68_719_476_736,
            "Maximum bytes of the changes that wait for the store or are in flight; further ones are rejected with 503."),
        .number(
            "FLOWHUB_MAX_WAITING_READS", \.store.waitingReads, 1...1_000_000,
            "Maximum reads that wait for the store or are in flight; further ones are rejected with 503."),
        .number(
            "FLOWHUB_MAX_GROUP_CHANGES", \.store.groupChanges, 1...10_000,
            "Maximum changes in one batch, which the store commits as one transaction."),
        .number(
            "FLOWHUB_MAX_GROUP_BYTES", \.store.groupBytes, 65_536...268_435_456,
            "Maximum bytes of the changes in one batch, and of the states that its patches result in. The store commits a batch as "
                + "one transaction."),
        .number(
            "FLOWHUB_SWEEP_SECONDS", \.background.sweepSeconds, 1...3_600,
            "Interval at which the hub looks in the store for undelivered events, in seconds; 1 s while delivery is not ok.",
            defaultText: "15; 1 with Postgres and no Redis"),
    ]

    private static let postgres: [Setting] = [
        .databaseURL, .databaseSchema,
        .number(
            "FLOWHUB_PG_START_SECONDS", \.postgresStartSeconds, 0...86_400,
            "Time for which `serve` waits for an unavailable Postgres before it exits with code 1, in seconds; 0: no wait."),
        .postgresNumber(
            "FLOWHUB_PG_CONNECT_SECONDS", \.connectSeconds, 1...300,
            "Timeout for connecting to one address of the Postgres server, in seconds."),
        .postgresNumber(
            "FLOWHUB_PG_STATEMENT_SECONDS", \.statementSeconds, 1...3_600,
            "Timeout of an SQL statement, in seconds; then Postgres cancels it."),
        .postgresNumber(
            "FLOWHUB_PG_LOCK_SECONDS", \.lockSeconds, 1...3_600,
            "Timeout for a row or table that another transaction has locked, in seconds; then the request fails with 503."),
        .postgresNumber(
            "FLOWHUB_PG_ACQUIRE_SECONDS", \.acquireSeconds, 1...3_600,
            "Timeout for a free connection of the Postgres pool, in seconds; then the request fails with 503."),
        .postgresNumber(
            "FLOWHUB_PG_CHANGE_CONNECTIONS", \.changeConnections, 1...16,
            "Number of Postgres connections for changes of flows; each writes one batch at a time."),
        .postgresNumber(
            "FLOWHUB_PG_READ_CONNECTIONS", \.readConnections, 1...64,
            "Number of Postgres connections that read states, versions and lists of flows."),
        .postgresNumber(
            "FLOWHUB_PG_PAGE_CONNECTIONS", \.pageConnections, 1...64,
            "Number of Postgres connections that read the history of flows."),
        .postgresNumber(
            "FLOWHUB_PG_IMPORT_CONNECTIONS", \.importConnections, 1...64,
            "Number of Postgres connections that read and write records of imports."),
        .flag(
            "FLOWHUB_MIGRATE", \.migrates,
            "Apply missing migrations to Postgres before `serve` listens; false: `serve` does not start if one is missing."),
        .choice(
            "FLOWHUB_OUTBOX", \.outbox, ["auto", "on", "off"],
            "Keep commits in a Postgres table (outbox) until they are published on Redis. auto: on if Redis is configured."),
    ]

    private static let redis: [Setting] = [
        .redisText("REDIS_URL", "URL of Redis: redis[s]://[user:password@]host[:port][/database]."),
        .redisText("UPSTASH_REDIS_URL", "URL of an Upstash Redis database, https://host; used if REDIS_URL is not set."),
        .redisText("UPSTASH_REDIS_TOKEN", "Token of the database in UPSTASH_REDIS_URL. Each of the two needs the other."),
        .redisText("UPSTASH_REDIS_REST_URL", "As UPSTASH_REDIS_URL, under Upstash's own name; used if that is not set."),
        .redisText(
            "UPSTASH_REDIS_REST_TOKEN", "Token of the database in UPSTASH_REDIS_REST_URL. Each of the two needs the other."),
        .flag("REDIS_ENABLED", \.isRedisEnabled, "Use Redis if REDIS_URL or one of the Upstash URLs is set."),
        .number(
            "REDIS_DEFAULT_TTL", \.redisServices.stateSeconds, 60...2_592_000,
            "TTL of flow states cached in Redis, in seconds; up to 10 % is added at random."),
        .redisAuthorities,
        .redisNumber(
            "FLOWHUB_REDIS_CONNECT_MS", \.connectMilliseconds, 100...60_000,
            "Timeout for connecting to Redis, and again for the handshake, in milliseconds."),
        .redisNumber(
            "FLOWHUB_REDIS_COMMAND_MS", \.commandMilliseconds, 100...60_000,
            "Timeout for a reply of Redis, in milliseconds; then the connection to Redis is closed."),
        .redisNumber(
            "FLOWHUB_REDIS_MAX_PENDING", \.maximumPending, 100...10_000_000,
            "Maximum commands that wait for a reply of Redis; further ones fail immediately."),
        .redisNumber(
            "FLOWHUB_REDIS_MAX_PENDING_BYTES", \.maximumPendingBytes, 1_048_576...68_719_476_736,
            "Maximum bytes of the commands that wait for a reply of Redis; further ones fail immediately."),
        .redisNumber(
            "FLOWHUB_REDIS_MAX_REPLY_BYTES", \.maximumReplyBytes, 65_536...1_073_741_824,
            "Maximum bytes of one reply or message of Redis; after a larger one the connection to Redis is closed."),
        .number(
            "FLOWHUB_CANARY_MS", \.redisServices.canaryMilliseconds, 100...60_000,
            "Interval of canaries, the messages with which an instance tests Redis pub/sub, in milliseconds."),
        .number(
            "FLOWHUB_CANARY_BLIND_MS", \.redisServices.canaryTimeoutMilliseconds, 500...300_000,
            "Milliseconds without a canary until delivery is degraded; raised to 2.5 times FLOWHUB_CANARY_MS if lower."),
        .number(
            "FLOWHUB_MAX_BUS_MESSAGE_BYTES", \.redisServices.maximumMessageBytes, 1_024...67_108_864,
            "Maximum bytes of a bus message; a larger one is dropped. The version sweep then delivers its event if durable."),
        .number(
            "FLOWHUB_REGISTRY_SECONDS", \.redisServices.registrySeconds, 30...604_800,
            "TTL of a stream's entry in the registry in Redis, in seconds; refreshed after a third of this time."),
        .choice(
            "FLOWHUB_SEED_UPDATES", \.foreignUpdates, ["auto"] + ForeignPolicy.allCases.map(\.rawValue),
            "Messages of other programs on Redis channels of flows: apply state updates as changes and deliver others live, deliver "
                + "all live, or ignore. auto: apply without keys or with FLOWHUB_SEED_ACCOUNT, else deliver."),
        .optional(
            "FLOWHUB_SEED_ACCOUNT", \.foreignAccount,
            "Account of the legacy service's messages and data in Redis, with keys. Not set: messages are the flow owner's, data nobody's."
        ),
        .number(
            "FLOWHUB_SEED_LEASE_MS", \.redisServices.foreignLeaseMilliseconds, 1_000...5_000,
            "TTL of the lease of the instance that applies messages of other programs, in milliseconds; renewed after a fifth."),
        .number(
            "FLOWHUB_SEED_RECENT_SECONDS", \.foreignLimits.recentSeconds, 10...600,
            "Time for which every instance keeps such messages, to apply them if the instance with the lease dies, in seconds."),
        .number(
            "FLOWHUB_SEED_RECENT_BYTES", \.foreignLimits.recentBytes, 1_048_576...68_719_476_736,
            "Maximum bytes of the messages that an instance keeps or has yet to apply; the oldest kept ones are evicted."),
    ]

    private static let r2: [Setting] = [
        .flag(
            "R2_ENABLED", \.isR2Enabled,
            "Store new imports as objects: in R2, or without Postgres in FLOWHUB_DATA. false, or Postgres without R2: as rows. "
                + "Objects stay readable."),
        .number(
            "FLOWHUB_R2_SHARE", \.imports.objectShare, 0...100,
            "Percentage of new imports that are stored as objects, chosen by account and id; the others are stored as rows."),
        .r2Text("R2_ACCOUNT_ID", "Cloudflare account id, from which the hub derives the URL of R2."),
        .r2Text(
            "R2_ENDPOINT",
            "URL of the object store instead of R2_ACCOUNT_ID: https://host[:port]; http:// for loopback addresses only."),
        .r2Text("R2_BUCKET_NAME", "Name of the R2 bucket for imports; the bucket must exist."),
        .r2Text("R2_ACCESS_KEY_ID", "Id of the access key for R2.", isSecret: true),
        .r2Text("R2_SECRET_ACCESS_KEY", "Secret of the access key R2_ACCESS_KEY_ID.", isSecret: true),
        .r2Text(
            "R2_SESSION_TOKEN",
            "Session token of the access key R2_ACCESS_KEY_ID; required only for temporary keys.", isSecret: true),
        .r2Text(
            "FLOWHUB_R2_CREDENTIALS",
            "Path of a JSON file that replaces R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY, R2_SESSION_TOKEN; reloaded on change."),
        .r2Text("FLOWHUB_R2_JURISDICTION", "Jurisdiction of the R2 bucket: eu, fedramp or empty. Not with R2_ENDPOINT."),
        .r2Text("FLOWHUB_R2_CA", "File of certificates (PEM) to trust for R2 instead of the system's certificates."),
        .r2Number(
            "FLOWHUB_R2_PART_BYTES", \.partBytes, R2Limits.partBytesRange,
            "Size of the parts in which an object is uploaded to R2, in bytes; an object has at most 10,000 parts."),
        .r2Number(
            "FLOWHUB_R2_PARTS_IN_FLIGHT", \.partsInFlight, 1...64,
            "Maximum parts of one object that are uploaded to R2 at the same time."),
        .r2Number("FLOWHUB_R2_ATTEMPTS", \.attempts, 1...20, "Maximum attempts at one request to R2, including the first."),
        .r2Number(
            "FLOWHUB_R2_CONNECT_SECONDS", \.connectSeconds, 1...300,
            "Timeout for connecting to R2, in seconds; then the attempt fails."),
        .r2Number(
            "FLOWHUB_R2_STALL_SECONDS", \.stallSeconds, 1...3_600,
            "Time without a byte from or to R2 until an attempt at a request fails, in seconds."),
        .r2Number(
            "FLOWHUB_R2_REQUEST_SECONDS", \.requestSeconds, 1...3_600,
            "Timeout of one attempt at a request to R2, in seconds. For downloads: until the response head."),
        .r2Number(
            "FLOWHUB_R2_RETRY_SECONDS", \.retrySeconds, 1...3_600,
            "Time from the start of a request to R2 after which the hub does not retry it, in seconds."),
        .r2Number(
            "FLOWHUB_R2_CONNECTIONS", \.connections, 1...1_000,
            "Maximum concurrent requests to R2, not counting downloads; further ones wait."),
        .r2Number("FLOWHUB_R2_DOWNLOADS", \.downloads, 1...1_000, "Maximum concurrent downloads from R2; further ones wait."),
    ]

    private static let access: [Setting] = [
        .optional(
            "FLOWHUB_JWT_KEY", \.access.hmacKey,
            "HS256 key that signs tokens, at least 32 bytes. Without it and without FLOWHUB_JWKS, requests need no token.",
            isSecret: true),
        .optional(
            "FLOWHUB_JWKS", \.access.jwksPath, "Path of a JSON Web Key Set that verifies tokens (HS256, RS256, ES256, EdDSA)."),
        .optional(
            "FLOWHUB_JWT_AUDIENCE", \.access.audience,
            "Audience that a token's claim aud must contain. Not set: aud is not checked."),
        .optional(
            "FLOWHUB_JWT_ISSUER", \.access.issuer, "Value that a token's claim iss must have. Not set: iss is not checked."),
        .flag("FLOWHUB_JWT_REQUIRE_EXP", \.access.requireExpiration, "Reject tokens without the claim exp (expiration time)."),
        .number(
            "FLOWHUB_JWT_LEEWAY", \.access.leewaySeconds, 0...60,
            "Maximum clock difference accepted in a token's claims exp, nbf and iat, in seconds."),
        .number(
            "FLOWHUB_JWT_MAX_SECONDS", \.access.maximumLifetime, 0...3_153_600_000,
            "Maximum seconds from a token's iat to its exp; revocations are kept for this time. 0: no limit, kept for ever."),
        .number(
            "FLOWHUB_JWT_MAX_BYTES", \.access.maximumTokenBytes, 256...65_536,
            "Maximum bytes of a token; a longer one is rejected with 401."),
        .number(
            "FLOWHUB_JWT_CACHE", \.access.cacheSize, 0...1_000_000,
            "Maximum verified tokens that are cached to save signature checks; 0: no cache."),
        .list(
            "FLOWHUB_CORS_ORIGINS", \.access.corsOrigins,
            "Origins (scheme://host[:port], host also *.domain) whose pages may send requests to the hub; *: all, with keys only."
        ),
        .list(
            "FLOWHUB_TRUSTED_PROXIES", \.access.trustedProxies,
            "IP addresses and networks of the proxies whose client address (FLOWHUB_FORWARDED), scheme and request id are believed."
        ),
        .choice(
            "FLOWHUB_FORWARDED", \.access.forwarded, TrustedProxies.Statement.allCases.map(\.rawValue),
            "Where trusted proxies state the client's address: a header field, or the PROXY protocol, which they then must use."),
    ]

    private static let locks: [Setting] = [
        .number(
            "FLOWHUB_MAX_ACCOUNT_LOCKS", \.locks.accountLocks, 1...1_000_000,
            "Maximum locks that one account holds at the same time; further ones are rejected with 429.",
            defaultText: "1000; without keys FLOWHUB_MAX_LOCKS"),
        .number(
            "FLOWHUB_MAX_LOCKS", \.locks.locks, 1...10_000_000,
            "Maximum locks of all accounts in the memory of a hub without Postgres and Redis; further ones: 503."),
    ]

    private static let patterns: [Setting] = [
        .fraction(
            "FLOWHUB_PATTERN_CONFIDENCE", \.http.patternConfidence,
            "Minimum confidence of a mapping pattern (cached field mapping) to be stored; a lower one is rejected with 422."),
        .number(
            "FLOWHUB_PATTERN_SECONDS", \.http.patternSeconds, 1...31_536_000,
            "Lifetime of a mapping pattern (cached field mapping), in seconds."),
        .number(
            "FLOWHUB_MAX_PATTERN_BYTES", \.http.maximumPatternBytes, 1_024...1_048_576,
            "Maximum bytes of a mapping pattern (cached field mapping); a larger one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_PATTERNS", \.patterns.accountPatterns, 1...10_000_000,
            "Maximum mapping patterns of one account; its least recently used ones (with Redis: its oldest) are evicted.",
            defaultText: "1000; without keys FLOWHUB_MAX_KEPT_PATTERNS"),
        .number(
            "FLOWHUB_MAX_ACCOUNT_PATTERN_BYTES", \.patterns.accountBytes, 2_097_152...68_719_476_736,
            "Maximum bytes of the mapping patterns of one account; further ones replace its own as above.",
            defaultText: "4194304; without keys FLOWHUB_MAX_KEPT_PATTERN_BYTES"),
        .number(
            "FLOWHUB_MAX_KEPT_PATTERNS", \.patterns.patterns, 1...10_000_000,
            "Maximum mapping patterns of all accounts in the memory of a hub without Redis; then an account evicts its own, or gets 503."
        ),
        .number(
            "FLOWHUB_MAX_KEPT_PATTERN_BYTES", \.patterns.bytes, 2_097_152...68_719_476_736,
            "Maximum bytes of the mapping patterns of all accounts in the memory of a hub without Redis; then as above."),
    ]

    private static let imports: [Setting] = [
        .number(
            "FLOWHUB_MAX_IMPORTS", \.imports.maximumImports, 1...1_000,
            "Maximum concurrent imports of the instance, about 40 MiB of memory each; further ones are rejected with 503."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_IMPORTS", \.imports.maximumAccountImports, 1...1_000,
            "Maximum concurrent imports of one account on the instance; further ones are rejected with 429.",
            defaultText: "FLOWHUB_MAX_IMPORTS minus 1, at least 1; without keys FLOWHUB_MAX_IMPORTS"),
        .number(
            "FLOWHUB_MAX_IMPORT_BYTES", \.imports.maximumBytes, 1_048_576...1_099_511_627_776,
            "Maximum uncompressed bytes of an import; a larger one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_IMPORT_RATIO", \.imports.maximumRatio, 2...100_000,
            "Maximum ratio of an import's expanded size (gzip decompressed, CSV as JSON) to its uploaded size; a higher one: 413. "
                + "Not checked up to 64 MiB of expanded data."),
        .number(
            "FLOWHUB_MAX_RECORD_BYTES", \.imports.limits.recordBytes, 1_024...67_108_864,
            "Maximum bytes of one record; an import with a larger record is rejected with 413."),
        .number(
            "FLOWHUB_MAX_CSV_COLUMNS", \.imports.limits.csvColumns, 1...100_000,
            "Maximum columns of a CSV import; an import with more is rejected with 413."),
        .number(
            "FLOWHUB_MAX_SUMMARY_FIELDS", \.imports.limits.summaryFields, 1...100_000,
            "Maximum fields in an import's field summary; the records of all further fields are counted together as _more."),
        .number(
            "FLOWHUB_MAX_RECORDS", \.imports.maximumRecords, 1...100_000,
            "Maximum records per response to /v1/imports/{id}/records; a higher limit in a request is lowered to this value."),
        .number(
            "FLOWHUB_IMPORT_CLAIM_SECONDS", \.imports.claimSeconds, 4...3_600,
            "Duration of an instance's claim on an import, in seconds; then another instance marks the import as failed."),
        .number(
            "FLOWHUB_IMPORT_PROGRESS_MS", \.imports.progressMilliseconds, 50...60_000,
            "Minimum interval of the import_progress events of an import, in milliseconds."),
        .number(
            "FLOWHUB_IMPORT_CACHE_SECONDS", \.imports.cacheSeconds, 1...2_592_000,
            "Time that an import's sample and schema analysis stay cached, in seconds."),
        .number(
            "FLOWHUB_IMPORT_CACHE_BYTES", \.importCacheBytes, 1_048_576...68_719_476_736,
            "Maximum bytes of samples and schema analyses of imports that a hub caches in memory: without Redis all of them."),
        .flag(
            "FLOWHUB_REDIS_SAMPLES", \.imports.sharesSamples,
            "Cache samples of imports in Redis; false: in the memory of each instance. Those of encrypted imports never are in Redis."
        ),
        .optional(
            "FLOWHUB_IMPORT_KEYS", \.importKeysPath,
            "Path of a file of named keys that encrypt stored imports. Not set: nothing is encrypted."),
        .number(
            "FLOWHUB_DOWNLOAD_SECONDS", \.imports.downloadSeconds, 1...604_800,
            "Lifetime of a download link (presigned URL) of an import, in seconds."),
        .number(
            "FLOWHUB_PACK_LEVEL", \.compressionLevel, 1...12,
            "Gzip compression level of stored imports: 1 (fastest) to 12 (smallest)."),
        .number(
            "FLOWHUB_BULK_THREADS", \.bulkThreads, 0...256,
            "Number of low-priority threads that parse, compress and decompress imports; 0: one per core."),
        .number(
            "FLOWHUB_STORAGE_HEALTH_SECONDS", \.storageHealthSeconds, 0...3_600,
            "Time that the result of /health/storage stays cached, in seconds."),
    ]

    private static let retention: [Setting] = [
        .number(
            "FLOWHUB_HISTORY_SECONDS", \.background.retention.historySeconds, 1...3_153_600_000,
            "Maximum age of events in a flow's history, in seconds; older ones are pruned (deleted)."),
        .number(
            "FLOWHUB_HISTORY_EVENTS", \.background.retention.historyEvents, 1...100_000_000,
            "Maximum events in a flow's history; the oldest are pruned (deleted)."),
        .number(
            "FLOWHUB_IDEMPOTENCY_SECONDS", \.background.retention.replySeconds, 60...31_536_000,
            "Time that the reply to a request with an Idempotency-Key is stored, in seconds."),
        .number(
            "FLOWHUB_PRUNE_SECONDS", \.background.pruneSeconds, 1...86_400,
            "Interval of pruning (deletion of old events), in seconds."),
    ]

    private static let logging: [Setting] = [
        .choice(
            "FLOWHUB_LOG_LEVEL", \.logLevel, ["trace", "debug", "info", "notice", "warning", "error", "critical"],
            "Minimum level of the messages that the hub logs."),
        .choice("FLOWHUB_LOG_FORMAT", \.logFormat, ["text", "json"], "Format of log lines on standard error."),
        .number(
            "FLOWHUB_MAX_LOG_LINES", \.logLines, 100...1_000_000,
            "Maximum log lines that wait for standard error to be read; further ones are dropped and counted."),
        .choice(
            "FLOWHUB_ACCESS_LOG", \.accessLog, AccessLogScope.allCases.map(\.rawValue),
            "Requests to log, whatever FLOWHUB_LOG_LEVEL is: none, those that may change something, or all and event streams."),
    ]

    /// The settings as a Markdown table, as in docs/OPERATIONS.md.
    static var markdown: String {
        var text = "| key | default | allowed values | description |\n|---|---|---|---|\n"
        for setting in Self.all {
            let defaultText = setting.defaultText.isEmpty ? "none" : setting.defaultText
            text += "| `\(setting.key)` | \(defaultText) | \(setting.range) | \(setting.summary) |\n"
        }
        return text
    }
}
