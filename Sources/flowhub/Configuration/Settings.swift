import FlowCore
import FlowEmbedded
import FlowHTTP
import FlowObjects
import FlowPostgres
import FlowRedis

extension Setting {
    /// All settings that the server reads, in the order of the documentation.
    static let all: [Setting] =
        Self.listening + Self.storage + Self.postgres + Self.redis + Self.r2 + Self.access + Self.streams + Self.requests
        + Self.patterns + Self.imports + Self.retention + Self.logging

    private static let listening: [Setting] = [
        .text("FLOWHUB_HOST", \.http.host, "Address to listen on. Without a key only a loopback address is accepted."),
        .number("PORT", \.http.port, 0...65_535, "Port to listen on; 0: a free port."),
        .number("FLOWHUB_EVENT_LOOPS", \.http.eventLoops, 0...256, "Number of event loop threads; 0: one per core."),
        .text(
            "FLOWHUB_INSTANCE", \.instance, "Name of this instance in the registry; unique among running instances.",
            defaultText: "random"),
        .number(
            "FLOWHUB_DRAIN_SECONDS", \.http.drainSeconds, 0...3_600, "Time over which streams are closed on SIGTERM, in seconds."),
    ]

    private static let storage: [Setting] = [
        .text("FLOWHUB_DATA", \.dataDirectory, "Directory of the embedded store."),
        .number(
            "FLOWHUB_CACHE_BYTES", \.cacheBytes, 1_048_576...1_099_511_627_776,
            "Maximum bytes of cached states; the least recently used are evicted."),
        .number(
            "FLOWHUB_MAX_WAITING_CHANGES", \.store.waitingChanges, 1...1_000_000,
            "Maximum queued changes; more are rejected with 503."
        ),
        .number(
            "FLOWHUB_MAX_WAITING_BYTES", \.store.waitingBytes, 1_048_576...68_719_476_736,
            "Maximum bytes of queued changes; more are rejected with 503."),
        .number(
            "FLOWHUB_MAX_WAITING_READS", \.store.waitingReads, 1...1_000_000, "Maximum queued reads; more are rejected with 503."),
        .number(
            "FLOWHUB_MAX_GROUP_CHANGES", \.store.groupChanges, 1...10_000,
            "Maximum changes in one batch, which is one transaction."),
        .number(
            "FLOWHUB_MAX_GROUP_BYTES", \.store.groupBytes, 65_536...268_435_456, "Maximum bytes of the changes in one batch."),
        .number(
            "FLOWHUB_SWEEP_SECONDS", \.background.sweepSeconds, 1...3_600,
            "Interval of the version sweep while delivery is ok, in seconds; otherwise it is 1 s.",
            defaultText: "15; 1 with Postgres and no Redis"),
    ]

    private static let postgres: [Setting] = [
        .databaseURL,
        .postgresNumber(
            "FLOWHUB_PG_CONNECT_SECONDS", \.connectSeconds, 1...300,
            "Timeout for connecting to one address of the database, in seconds."),
        .postgresNumber(
            "FLOWHUB_PG_STATEMENT_SECONDS", \.statementSeconds, 1...3_600,
            "Timeout of a statement, in seconds; the server cancels it."),
        .postgresNumber(
            "FLOWHUB_PG_LOCK_SECONDS", \.lockSeconds, 1...3_600, "Timeout for row and table locks, in seconds; then 503."),
        .postgresNumber(
            "FLOWHUB_PG_ACQUIRE_SECONDS", \.acquireSeconds, 1...3_600, "Timeout for a pool connection, in seconds; then 503."),
        .postgresNumber(
            "FLOWHUB_PG_CHANGE_CONNECTIONS", \.changeConnections, 1...16,
            "Number of connections for changes; each writes one batch at a time."),
        .postgresNumber(
            "FLOWHUB_PG_READ_CONNECTIONS", \.readConnections, 1...64, "Number of connections for states, heads and lists."),
        .postgresNumber("FLOWHUB_PG_PAGE_CONNECTIONS", \.pageConnections, 1...64, "Number of connections for history pages."),
        .postgresNumber(
            "FLOWHUB_PG_IMPORT_CONNECTIONS", \.importConnections, 1...64, "Number of connections for records of imports."),
        .flag(
            "FLOWHUB_MIGRATE", \.migrates,
            "Apply missing migrations before `serve` listens; false: do not start if one is missing."),
        .choice(
            "FLOWHUB_OUTBOX", \.outbox, ["auto", "on", "off"],
            "Use a transactional outbox in Postgres. auto: if Redis is configured."),
    ]

    private static let redis: [Setting] = [
        .redisText("REDIS_URL", "Redis, as redis[s]://[user:password@]host[:port][/database]."),
        .redisText("UPSTASH_REDIS_URL", "Address of an Upstash database, https://host; used if REDIS_URL is not set."),
        .redisText("UPSTASH_REDIS_TOKEN", "Token for UPSTASH_REDIS_URL."),
        .flag("REDIS_ENABLED", \.isRedisEnabled, "Use Redis if it is configured."),
        .number(
            "REDIS_DEFAULT_TTL", \.redisServices.stateSeconds, 60...2_592_000,
            "TTL of cached states in Redis, in seconds; up to 10 % is added at random."),
        .redisAuthorities,
        .redisNumber(
            "FLOWHUB_REDIS_CONNECT_MS", \.connectMilliseconds, 100...60_000, "Timeout for connect and handshake, in milliseconds."
        ),
        .redisNumber(
            "FLOWHUB_REDIS_COMMAND_MS", \.commandMilliseconds, 100...60_000,
            "Timeout for a reply, in milliseconds; then the connection is closed."),
        .redisNumber(
            "FLOWHUB_REDIS_MAX_PENDING", \.maximumPending, 100...10_000_000,
            "Maximum commands that wait for a reply; more fail immediately."),
        .redisNumber(
            "FLOWHUB_REDIS_MAX_PENDING_BYTES", \.maximumPendingBytes, 1_048_576...68_719_476_736,
            "Maximum bytes of the commands that wait for a reply; more fail immediately."),
        .redisNumber(
            "FLOWHUB_REDIS_MAX_REPLY_BYTES", \.maximumReplyBytes, 65_536...1_073_741_824,
            "Maximum bytes of one reply or message; beyond it the connection is closed."),
        .number(
            "FLOWHUB_CANARY_MS", \.redisServices.canaryMilliseconds, 100...60_000,
            "Interval of canaries, in milliseconds."),
        .number(
            "FLOWHUB_CANARY_BLIND_MS", \.redisServices.canaryTimeoutMilliseconds, 500...300_000,
            "Time without a canary after which delivery is degraded, in milliseconds; at least 2.5 times FLOWHUB_CANARY_MS."),
        .number(
            "FLOWHUB_MAX_BUS_MESSAGE_BYTES", \.redisServices.maximumMessageBytes, 1_024...67_108_864,
            "Maximum bytes of a bus message; a larger one is dropped, and the version sweep delivers its event if durable."),
        .number(
            "FLOWHUB_REGISTRY_SECONDS", \.redisServices.registrySeconds, 30...604_800,
            "TTL of connection entries in Redis, in seconds; refreshed at a third of it."),
        .choice(
            "FLOWHUB_SEED_UPDATES", \.foreignUpdates, ForeignPolicy.allCases.map(\.rawValue),
            "Foreign messages on flow channels: deliver live, apply state updates as changes, or ignore."
        ),
    ]

    private static let r2: [Setting] = [
        .flag(
            "R2_ENABLED", \.isR2Enabled,
            "Store imports as objects (R2, or a directory of the embedded store); false, or Postgres without R2: as database rows."
        ),
        .r2Text("R2_ACCOUNT_ID", "Cloudflare account id; it determines the endpoint."),
        .r2Text("R2_ENDPOINT", "Endpoint instead of R2_ACCOUNT_ID, https://host[:port]; http only on loopback."),
        .r2Text("R2_BUCKET_NAME", "Name of the bucket, which must exist."),
        .r2Text("R2_ACCESS_KEY_ID", "Access key id.", isSecret: true),
        .r2Text("R2_SECRET_ACCESS_KEY", "Secret access key.", isSecret: true),
        .r2Text("R2_SESSION_TOKEN", "Session token of temporary credentials.", isSecret: true),
        .r2Text(
            "FLOWHUB_R2_CREDENTIALS",
            "JSON file that replaces R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and R2_SESSION_TOKEN; reloaded when it changes."
        ),
        .r2Text("FLOWHUB_R2_JURISDICTION", "Jurisdiction of the bucket: eu, fedramp or empty."),
        .r2Text("FLOWHUB_R2_CA", "File of certificates (PEM) to trust for R2 instead of the system's."),
        .r2Number(
            "FLOWHUB_R2_PART_BYTES", \.partBytes, R2Limits.partBytesRange,
            "Size of the parts of a large object, in bytes; an object has at most 10,000 parts."),
        .r2Number("FLOWHUB_R2_PARTS_IN_FLIGHT", \.partsInFlight, 1...64, "Maximum parts in flight per object."),
        .r2Number("FLOWHUB_R2_ATTEMPTS", \.attempts, 1...20, "Maximum attempts per request."),
        .r2Number(
            "FLOWHUB_R2_CONNECT_SECONDS", \.connectSeconds, 1...300,
            "Timeout for connecting to R2, in seconds; then the attempt fails."),
        .r2Number(
            "FLOWHUB_R2_STALL_SECONDS", \.stallSeconds, 1...3_600,
            "Timeout without a byte in either direction, in seconds; then the attempt fails."),
        .r2Number(
            "FLOWHUB_R2_REQUEST_SECONDS", \.requestSeconds, 1...3_600,
            "Timeout of one attempt, in seconds; then it fails. For downloads: until the response head."),
        .r2Number(
            "FLOWHUB_R2_RETRY_SECONDS", \.retrySeconds, 1...3_600,
            "Maximum total time for retries of a request, in seconds; no attempt starts after it."),
        .r2Number(
            "FLOWHUB_R2_CONNECTIONS", \.connections, 1...1_000, "Maximum requests in flight, not counting downloads; more wait."),
        .r2Number("FLOWHUB_R2_DOWNLOADS", \.downloads, 1...1_000, "Maximum downloads in flight; more wait."),
    ]

    private static let access: [Setting] = [
        .optional(
            "FLOWHUB_JWT_KEY", \.access.hmacKey,
            "HS256 key of tokens, at least 32 bytes. Without FLOWHUB_JWT_KEY and FLOWHUB_JWKS no token is required.",
            isSecret: true),
        .optional("FLOWHUB_JWKS", \.access.jwksPath, "File with a JSON Web Key Set (HS256, RS256, ES256, EdDSA)."),
        .optional("FLOWHUB_JWT_AUDIENCE", \.access.audience, "Audience that a token's aud must contain."),
        .flag("FLOWHUB_JWT_REQUIRE_EXP", \.access.requireExpiration, "Reject tokens without exp."),
        .number("FLOWHUB_JWT_LEEWAY", \.access.leewaySeconds, 0...60, "Maximum clock skew for the times in a token, in seconds."),
        .number(
            "FLOWHUB_JWT_MAX_BYTES", \.access.maximumTokenBytes, 256...65_536,
            "Maximum bytes of a token; a longer one is rejected with 401."),
        .number("FLOWHUB_JWT_CACHE", \.access.cacheSize, 0...1_000_000, "Maximum cached verified tokens."),
        .list("FLOWHUB_CORS_ORIGINS", \.access.corsOrigins, "Origins whose pages may use the hub, as scheme://host[:port]."),
    ]

    private static let streams: [Setting] = [
        .number(
            "FLOWHUB_MAX_CONNECTIONS", \.streams.maximumConnections, 1...10_000_000,
            "Maximum event streams of the instance; more get closing, reason full.",
            defaultText: "file limit minus 2048, at least 10000"),
        .number(
            "FLOWHUB_MAX_CONNECTIONS_PER_SUBJECT", \.streams.maximumConnectionsPerSubject, 1...10_000_000,
            "Maximum event streams of one token subject; more get closing, reason full. Not used without keys."),
        .number(
            "FLOWHUB_MAX_FLOWS_PER_CONNECTION", \.streams.maximumFlows, 1...12,
            "Maximum flows of one event stream; more are rejected with 400."),
        .number(
            "FLOWHUB_MAX_QUEUED_BYTES", \.streams.maximumQueuedBytes, 65_536...1_099_511_627_776,
            "Maximum queued (unsent) bytes of all streams; beyond it new streams are rejected and the largest queues are shed."),
        .number(
            "FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER", \.streams.maximumQueuedBytesPerSubscriber, 4_096...16_777_216,
            "Maximum queued (unsent) bytes of one stream; beyond it the subscriber continues from history."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_BYTES", \.streams.transients.eventBytes, 0...67_108_864,
            "Maximum bytes of a latest transient's data; a larger event is delivered but not cached."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_BYTES_PER_FLOW", \.streams.transients.flowBytes, 0...67_108_864,
            "Maximum bytes of a flow's latest transients; the oldest are evicted."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_TYPES", \.streams.transients.types, 1...1_000,
            "Maximum number of a flow's latest transients, one per event type; the oldest are evicted."),
        .number(
            "FLOWHUB_HEARTBEAT_SECONDS", \.streams.heartbeatSeconds, 1...300, "Interval of heartbeats on a stream, in seconds."),
        .number(
            "FLOWHUB_RETRY_MS", \.streams.retryMilliseconds, 10...600_000,
            "Average SSE retry delay, in milliseconds; each stream gets a random one from half to one and a half times this."),
        .number(
            "FLOWHUB_LINGER_MS", \.streams.lingerMilliseconds, 0...3_600_000,
            "Time that a terminal flow's streams stay open for late events, in milliseconds."),
        .number(
            "FLOWHUB_OPEN_SECONDS", \.streams.openSeconds, 1...60,
            "Timeout for opening a stream, in seconds; then closing, reason unavailable."),
    ]

    private static let requests: [Setting] = [
        .number(
            "FLOWHUB_MAX_BODY_BYTES", \.http.maximumBodyBytes, 1_024...1_073_741_824,
            "Maximum bytes of a request body, except of imports; a larger one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_HEADER_BYTES", \.http.maximumHeaderBytes, 1_024...1_048_576,
            "Maximum bytes of all header fields of a request; more are rejected with 431."),
        .number(
            "FLOWHUB_MAX_URI_BYTES", \.http.maximumURIBytes, 256...1_048_576,
            "Maximum bytes of a request target; a longer one is rejected with 414."),
        .number(
            "FLOWHUB_MAX_STATE_BYTES", \.http.changeLimits.maximumStateBytes, 1_024...67_108_864,
            "Maximum bytes of a flow's state; a larger one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_EVENT_BYTES", \.http.maximumEventBytes, 1_024...67_108_864,
            "Maximum bytes of one event's data; more are rejected with 413."),
        .number(
            "FLOWHUB_MAX_BATCH_EVENTS", \.http.maximumBatchEvents, 1...100_000,
            "Maximum events per publish request; more are rejected with 413."),
        .number(
            "FLOWHUB_MAX_JSON_DEPTH", \.http.maximumJSONDepth, 1...512,
            "Maximum nesting depth of JSON; a deeper document is rejected with 400."),
        .number(
            "FLOWHUB_MAX_ORDINARY_CONNECTIONS", \.http.maximumOrdinaryConnections, 16...1_000_000,
            "Maximum connections without an event stream per event loop; more are closed."),
        .number(
            "FLOWHUB_HEAD_TIMEOUT_SECONDS", \.http.headTimeoutSeconds, 1...3_600,
            "Timeout for the request head, in seconds; then 408."),
        .number(
            "FLOWHUB_BODY_TIMEOUT_SECONDS", \.http.bodyTimeoutSeconds, 1...3_600,
            "Timeout for the request body, in seconds; then 408. For imports: time without a byte."),
        .number(
            "FLOWHUB_ANSWER_TIMEOUT_SECONDS", \.http.answerTimeoutSeconds, 1...3_600,
            "Timeout for write progress of a response, in seconds; then the connection is closed."),
        .number(
            "FLOWHUB_IDLE_TIMEOUT_SECONDS", \.http.idleTimeoutSeconds, 1...3_600,
            "Timeout between two requests on a connection, in seconds; then it is closed."),
    ]

    private static let patterns: [Setting] = [
        .fraction(
            "FLOWHUB_PATTERN_CONFIDENCE", \.http.patternConfidence,
            "Minimum confidence of a mapping pattern; a lower one is rejected with 422."),
        .number("FLOWHUB_PATTERN_SECONDS", \.http.patternSeconds, 1...31_536_000, "TTL of a mapping pattern, in seconds."),
        .number(
            "FLOWHUB_MAX_PATTERN_BYTES", \.http.maximumPatternBytes, 1_024...1_048_576,
            "Maximum bytes of a mapping pattern; a larger one is rejected with 413."
        ),
        .number(
            "FLOWHUB_MAX_KEPT_PATTERNS", \.patterns.patterns, 1...10_000_000,
            "Maximum mapping patterns in memory, without Redis; the least recently used are evicted."),
        .number(
            "FLOWHUB_MAX_KEPT_PATTERN_BYTES", \.patterns.bytes, 2_097_152...68_719_476_736,
            "Maximum bytes of the mapping patterns in memory, without Redis; the least recently used are evicted."),
    ]

    private static let imports: [Setting] = [
        .number(
            "FLOWHUB_MAX_IMPORTS", \.imports.maximumImports, 1...1_000,
            "Maximum concurrent imports, about 40 MiB of memory each; more are rejected with 503."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_IMPORTS", \.imports.maximumAccountImports, 1...1_000,
            "Maximum concurrent imports of one account; more are rejected with 429.",
            defaultText: "FLOWHUB_MAX_IMPORTS minus 1, at least 1; without keys FLOWHUB_MAX_IMPORTS"),
        .number(
            "FLOWHUB_MAX_IMPORT_BYTES", \.imports.maximumBytes, 1_048_576...1_099_511_627_776,
            "Maximum uncompressed bytes of an import; a larger one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_IMPORT_RATIO", \.imports.maximumRatio, 2...100_000,
            "Maximum gzip expansion ratio of an import, checked above 64 MiB; a higher one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_RECORD_BYTES", \.imports.limits.recordBytes, 1_024...67_108_864,
            "Maximum bytes of one record; a larger one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_CSV_COLUMNS", \.imports.limits.csvColumns, 1...100_000,
            "Maximum columns of a CSV file; more are rejected with 413."),
        .number(
            "FLOWHUB_MAX_SUMMARY_FIELDS", \.imports.limits.summaryFields, 1...100_000,
            "Maximum fields in an import's field summary; further fields are counted together in _more."),
        .number(
            "FLOWHUB_MAX_RECORDS", \.imports.maximumRecords, 1...100_000,
            "Maximum records per request to /records; a higher limit is lowered to this."),
        .number(
            "FLOWHUB_IMPORT_CLAIM_SECONDS", \.imports.claimSeconds, 4...3_600,
            "Claim duration, in seconds; an import not renewed for this long is swept by another instance."),
        .number(
            "FLOWHUB_IMPORT_PROGRESS_MS", \.imports.progressMilliseconds, 50...60_000,
            "Interval of import_progress events, in milliseconds."),
        .number(
            "FLOWHUB_IMPORT_CACHE_SECONDS", \.imports.cacheSeconds, 1...2_592_000,
            "Cache time of an import's sample and schema, in seconds."),
        .number(
            "FLOWHUB_IMPORT_CACHE_BYTES", \.importCacheBytes, 1_048_576...68_719_476_736,
            "Maximum bytes of cached samples and schemas in memory, without Redis."),
        .number(
            "FLOWHUB_DOWNLOAD_SECONDS", \.imports.downloadSeconds, 1...604_800, "Lifetime of download links, in seconds."),
        .number(
            "FLOWHUB_PACK_LEVEL", \.compressionLevel, 1...12, "Compression level of imports: 1 (fast) to 12 (small)."),
        .number(
            "FLOWHUB_BULK_THREADS", \.bulkThreads, 0...256,
            "Number of low-priority threads that parse, compress and decompress imports; 0: one per core."),
        .number(
            "FLOWHUB_STORAGE_HEALTH_SECONDS", \.storageHealthSeconds, 0...3_600,
            "Cache time of /health/storage, in seconds."),
    ]

    private static let retention: [Setting] = [
        .number(
            "FLOWHUB_HISTORY_SECONDS", \.background.retention.historySeconds, 1...3_153_600_000,
            "Maximum age of events in history, in seconds; older ones are pruned."
        ),
        .number(
            "FLOWHUB_HISTORY_EVENTS", \.background.retention.historyEvents, 1...100_000_000,
            "Maximum events in a flow's history; the oldest are pruned."),
        .number(
            "FLOWHUB_IDEMPOTENCY_SECONDS", \.background.retention.replySeconds, 60...31_536_000,
            "Lifetime of an Idempotency-Key, in seconds."),
        .number("FLOWHUB_PRUNE_SECONDS", \.background.pruneSeconds, 1...86_400, "Interval of pruning, in seconds."),
    ]

    private static let logging: [Setting] = [
        .choice(
            "FLOWHUB_LOG_LEVEL", \.logLevel, ["trace", "debug", "info", "notice", "warning", "error", "critical"],
            "Minimum level of log messages."),
        .choice("FLOWHUB_LOG_FORMAT", \.logFormat, ["text", "json"], "Format of log lines on standard error."),
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
