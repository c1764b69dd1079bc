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
        .number("PORT", \.http.port, 0...65_535, "Port to listen on; 0 takes a free one."),
        .number("FLOWHUB_EVENT_LOOPS", \.http.eventLoops, 0...256, "Threads that serve sockets; 0 is one a core."),
        .text("FLOWHUB_INSTANCE", \.instance, "This process's name in the registry.", defaultText: "made up at the start"),
        .number("FLOWHUB_DRAIN_SECONDS", \.http.drainSeconds, 0...3_600, "Over how long streams are closed on SIGTERM."),
    ]

    private static let storage: [Setting] = [
        .text("FLOWHUB_DATA", \.dataDirectory, "Folder of the embedded store."),
        .number(
            "FLOWHUB_CACHE_BYTES", \.cacheBytes, 1_048_576...1_099_511_627_776, "Memory for states that are kept for reading."),
        .number(
            "FLOWHUB_MAX_WAITING_CHANGES", \.store.waitingChanges, 1...1_000_000, "Changes that wait for the store. Over it: 503."
        ),
        .number(
            "FLOWHUB_MAX_WAITING_BYTES", \.store.waitingBytes, 1_048_576...68_719_476_736,
            "Bytes of the changes that wait for the store. Over it: 503."),
        .number("FLOWHUB_MAX_WAITING_READS", \.store.waitingReads, 1...1_000_000, "Reads that wait for the store. Over it: 503."),
        .number("FLOWHUB_MAX_GROUP_CHANGES", \.store.groupChanges, 1...10_000, "Changes in one transaction."),
        .number(
            "FLOWHUB_MAX_GROUP_BYTES", \.store.groupBytes, 65_536...268_435_456, "Bytes of the changes in one transaction."),
        .number(
            "FLOWHUB_SWEEP_SECONDS", \.background.sweepSeconds, 1...3_600, "Between two version sweeps when all is well.",
            defaultText: "15; with Postgres and no bus between the instances 1"),
    ]

    private static let postgres: [Setting] = [
        .databaseURL,
        .postgresNumber("FLOWHUB_PG_CONNECT_SECONDS", \.connectSeconds, 1...300, "To reach one address of the database."),
        .postgresNumber(
            "FLOWHUB_PG_STATEMENT_SECONDS", \.statementSeconds, 1...3_600,
            "What a statement may take; the database stops it then."),
        .postgresNumber("FLOWHUB_PG_LOCK_SECONDS", \.lockSeconds, 1...3_600, "To wait for a lock in the database."),
        .postgresNumber(
            "FLOWHUB_PG_ACQUIRE_SECONDS", \.acquireSeconds, 1...3_600, "To wait for a free connection. Over it: 503."),
        .postgresNumber(
            "FLOWHUB_PG_CHANGE_CONNECTIONS", \.changeConnections, 1...16, "Connections that write, one batch at a time each."),
        .postgresNumber("FLOWHUB_PG_READ_CONNECTIONS", \.readConnections, 1...64, "Connections for states, heads and lists."),
        .postgresNumber("FLOWHUB_PG_PAGE_CONNECTIONS", \.pageConnections, 1...64, "Connections for pages of history."),
        .postgresNumber("FLOWHUB_PG_IMPORT_CONNECTIONS", \.importConnections, 1...64, "Connections for records of imports."),
        .flag("FLOWHUB_MIGRATE", \.migrates, "Whether `serve` brings the database's schema up to date before it listens."),
        .choice(
            "FLOWHUB_OUTBOX", \.outbox, ["auto", "on", "off"],
            "Whether commits are noted in the database until the bus has taken them; auto: if a bus reaches other instances."),
    ]

    private static let redis: [Setting] = [
        .redisText("REDIS_URL", "Redis, as redis[s]://[user:password@]host[:port][/database]."),
        .redisText("UPSTASH_REDIS_URL", "Upstash's address of a database, https://host; used if REDIS_URL is not set."),
        .redisText("UPSTASH_REDIS_TOKEN", "The token that goes with it."),
        .flag("REDIS_ENABLED", \.isRedisEnabled, "Whether Redis is used if there is one."),
        .number(
            "REDIS_DEFAULT_TTL", \.redisServices.stateSeconds, 60...2_592_000, "Seconds that a flow's state stays in Redis."),
        .redisAuthorities,
        .redisNumber(
            "FLOWHUB_REDIS_CONNECT_MS", \.connectMilliseconds, 100...60_000, "To reach Redis and be let in, in milliseconds."),
        .redisNumber(
            "FLOWHUB_REDIS_COMMAND_MS", \.commandMilliseconds, 100...60_000,
            "What Redis may take to answer, in milliseconds; then the connection is given up."),
        .redisNumber("FLOWHUB_REDIS_MAX_PENDING", \.maximumPending, 100...10_000_000, "Commands that wait for Redis."),
        .redisNumber(
            "FLOWHUB_REDIS_MAX_PENDING_BYTES", \.maximumPendingBytes, 1_048_576...68_719_476_736,
            "Bytes of the commands that wait for Redis."),
        .redisNumber(
            "FLOWHUB_REDIS_MAX_REPLY_BYTES", \.maximumReplyBytes, 65_536...1_073_741_824,
            "Bytes of one reply or message. Over it the connection is given up."),
        .number(
            "FLOWHUB_CANARY_MS", \.redisServices.canaryMilliseconds, 100...60_000,
            "Between two canaries, which show whether the bus delivers, in milliseconds."),
        .number(
            "FLOWHUB_CANARY_BLIND_MS", \.redisServices.canaryTimeoutMilliseconds, 500...300_000,
            "Without a canary the bus counts as blind, in milliseconds."),
        .number(
            "FLOWHUB_MAX_BUS_MESSAGE_BYTES", \.redisServices.maximumMessageBytes, 1_024...67_108_864,
            "Bytes of a message from the bus. A larger one is dropped; the sweep delivers what it told."),
        .number(
            "FLOWHUB_REGISTRY_SECONDS", \.redisServices.registrySeconds, 30...604_800,
            "Seconds that what is written of connections lives in Redis; it is renewed three times as often."),
        .choice(
            "FLOWHUB_SEED_UPDATES", \.foreignUpdates, ForeignPolicy.allCases.map(\.rawValue),
            "What becomes of messages without a version that other services publish on a flow's channel: delivered live, applied as changes, or dropped."
        ),
    ]

    private static let r2: [Setting] = [
        .flag(
            "R2_ENABLED", \.isR2Enabled,
            "Whether imports go to objects: in R2 if it is configured, else with the embedded store in its folder. If not, every record is a row of the store."
        ),
        .r2Text("R2_ACCOUNT_ID", "Cloudflare's account; its endpoint is made of it."),
        .r2Text("R2_ENDPOINT", "Another endpoint, https://host[:port]; http only on loopback."),
        .r2Text("R2_BUCKET_NAME", "The bucket, which must exist."),
        .r2Text("R2_ACCESS_KEY_ID", "Name of the key.", isSecret: true),
        .r2Text("R2_SECRET_ACCESS_KEY", "The key.", isSecret: true),
        .r2Text("R2_SESSION_TOKEN", "What goes with temporary credentials.", isSecret: true),
        .r2Text(
            "FLOWHUB_R2_CREDENTIALS",
            "JSON file with access_key_id, secret_access_key and maybe session_token instead; read again when it changes."),
        .r2Text("FLOWHUB_R2_JURISDICTION", "Jurisdiction of the bucket: eu, fedramp or none."),
        .r2Text("FLOWHUB_R2_CA", "File of certificates (PEM) to trust instead of the system's."),
        .r2Number(
            "FLOWHUB_R2_PART_BYTES", \.partBytes, R2Limits.partBytesRange,
            "Size of the parts of a large object; 10,000 of them are the most that an object can have."),
        .r2Number("FLOWHUB_R2_PARTS_IN_FLIGHT", \.partsInFlight, 1...64, "Parts of one object under way at a time."),
        .r2Number("FLOWHUB_R2_ATTEMPTS", \.attempts, 1...20, "How often a request is made before it has failed."),
        .r2Number("FLOWHUB_R2_CONNECT_SECONDS", \.connectSeconds, 1...300, "To reach R2."),
        .r2Number("FLOWHUB_R2_STALL_SECONDS", \.stallSeconds, 1...3_600, "Without a byte in either direction."),
        .r2Number("FLOWHUB_R2_REQUEST_SECONDS", \.requestSeconds, 1...3_600, "Until a request has its answer."),
        .r2Number("FLOWHUB_R2_RETRY_SECONDS", \.retrySeconds, 1...3_600, "After which no further attempt is made."),
        .r2Number("FLOWHUB_R2_CONNECTIONS", \.connections, 1...1_000, "Requests under way at a time, downloads apart."),
        .r2Number("FLOWHUB_R2_DOWNLOADS", \.downloads, 1...1_000, "Downloads under way at a time."),
    ]

    private static let access: [Setting] = [
        .optional(
            "FLOWHUB_JWT_KEY", \.access.hmacKey,
            "HS256 key of tokens, 32 bytes or more. With neither key nor key set the hub is open.",
            isSecret: true),
        .optional("FLOWHUB_JWKS", \.access.jwksPath, "File with a JSON Web Key Set (HS256, RS256, ES256, EdDSA)."),
        .optional("FLOWHUB_JWT_AUDIENCE", \.access.audience, "What a token's aud must hold."),
        .flag("FLOWHUB_JWT_REQUIRE_EXP", \.access.requireExpiration, "Whether a token must have an exp."),
        .number("FLOWHUB_JWT_LEEWAY", \.access.leewaySeconds, 0...60, "Seconds by which clocks may differ."),
        .number("FLOWHUB_JWT_MAX_BYTES", \.access.maximumTokenBytes, 256...65_536, "Size of a token."),
        .number("FLOWHUB_JWT_CACHE", \.access.cacheSize, 0...1_000_000, "Verified tokens that are remembered."),
        .list("FLOWHUB_CORS_ORIGINS", \.access.corsOrigins, "Origins whose pages may use the hub, as scheme://host[:port]."),
    ]

    private static let streams: [Setting] = [
        .number(
            "FLOWHUB_MAX_CONNECTIONS", \.streams.maximumConnections, 1...10_000_000,
            "Event streams in all. Over it: closing, reason full.", defaultText: "as the file limit allows, at least 10000"),
        .number(
            "FLOWHUB_MAX_CONNECTIONS_PER_SUBJECT", \.streams.maximumConnectionsPerSubject, 1...10_000_000,
            "Event streams of one token subject. Does not apply without keys."),
        .number("FLOWHUB_MAX_FLOWS_PER_CONNECTION", \.streams.maximumFlows, 1...12, "Flows of one event stream."),
        .number(
            "FLOWHUB_MAX_QUEUED_BYTES", \.streams.maximumQueuedBytes, 65_536...1_099_511_627_776,
            "Bytes that wait for slow subscribers, all together."),
        .number(
            "FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER", \.streams.maximumQueuedBytesPerSubscriber, 4_096...16_777_216,
            "Bytes that wait for one slow subscriber; beyond, it is fed from history."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_BYTES", \.streams.transients.eventBytes, 0...67_108_864,
            "Size of a transient event's data that is kept for newcomers; a larger one is told and not kept."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_BYTES_PER_FLOW", \.streams.transients.flowBytes, 0...67_108_864,
            "Size of all that is kept of one flow; the oldest go."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_TYPES", \.streams.transients.types, 1...1_000,
            "Types of transient events that are kept of one flow; the oldest go."),
        .number("FLOWHUB_HEARTBEAT_SECONDS", \.streams.heartbeatSeconds, 1...300, "Between two heartbeats of a stream."),
        .number(
            "FLOWHUB_RETRY_MS", \.streams.retryMilliseconds, 10...600_000, "What clients wait before they reconnect, on average."),
        .number(
            "FLOWHUB_LINGER_MS", \.streams.lingerMilliseconds, 0...3_600_000, "How long an ended flow waits for late events."),
        .number("FLOWHUB_OPEN_SECONDS", \.streams.openSeconds, 1...60, "How long a new stream waits for the store."),
    ]

    private static let requests: [Setting] = [
        .number(
            "FLOWHUB_MAX_BODY_BYTES", \.http.maximumBodyBytes, 1_024...1_073_741_824, "Size of a request body. Over it: 413."),
        .number(
            "FLOWHUB_MAX_HEADER_BYTES", \.http.maximumHeaderBytes, 1_024...1_048_576, "Size of all header fields. Over it: 431."),
        .number("FLOWHUB_MAX_URI_BYTES", \.http.maximumURIBytes, 256...1_048_576, "Size of a request target. Over it: 414."),
        .number(
            "FLOWHUB_MAX_STATE_BYTES", \.http.changeLimits.maximumStateBytes, 1_024...67_108_864,
            "Size of a flow's state. Over it: 413."),
        .number(
            "FLOWHUB_MAX_EVENT_BYTES", \.http.maximumEventBytes, 1_024...67_108_864, "Size of one event's data. Over it: 413."),
        .number("FLOWHUB_MAX_BATCH_EVENTS", \.http.maximumBatchEvents, 1...100_000, "Events of one publication. Over it: 413."),
        .number("FLOWHUB_MAX_JSON_DEPTH", \.http.maximumJSONDepth, 1...512, "Nesting of JSON. Over it: 400."),
        .number(
            "FLOWHUB_MAX_ORDINARY_CONNECTIONS", \.http.maximumOrdinaryConnections, 16...1_000_000,
            "Connections without an event stream, for each event loop. Over it they are closed."),
        .number(
            "FLOWHUB_HEAD_TIMEOUT_SECONDS", \.http.headTimeoutSeconds, 1...3_600, "For a request's head to arrive. Over it: 408."),
        .number(
            "FLOWHUB_BODY_TIMEOUT_SECONDS", \.http.bodyTimeoutSeconds, 1...3_600, "For a request's body to arrive. Over it: 408."),
        .number(
            "FLOWHUB_ANSWER_TIMEOUT_SECONDS", \.http.answerTimeoutSeconds, 1...3_600,
            "For a client to take some of an answer. Over it the connection is closed."),
        .number("FLOWHUB_IDLE_TIMEOUT_SECONDS", \.http.idleTimeoutSeconds, 1...3_600, "Between two requests of a connection."),
    ]

    private static let patterns: [Setting] = [
        .fraction(
            "FLOWHUB_PATTERN_CONFIDENCE", \.http.patternConfidence, "The least that a mapping pattern needs. Below it: 422."),
        .number("FLOWHUB_PATTERN_SECONDS", \.http.patternSeconds, 1...31_536_000, "How long a mapping pattern is kept."),
        .number(
            "FLOWHUB_MAX_PATTERN_BYTES", \.http.maximumPatternBytes, 1_024...1_048_576, "Size of a mapping pattern. Over it: 413."
        ),
        .number(
            "FLOWHUB_MAX_KEPT_PATTERNS", \.patterns.patterns, 1...10_000_000,
            "Mapping patterns in memory; those that were not asked for lately go."),
        .number(
            "FLOWHUB_MAX_KEPT_PATTERN_BYTES", \.patterns.bytes, 2_097_152...68_719_476_736,
            "Bytes of the mapping patterns in memory; those that were not asked for lately go."),
    ]

    private static let imports: [Setting] = [
        .number(
            "FLOWHUB_MAX_IMPORTS", \.imports.maximumImports, 1...1_000,
            "Imports that are taken in at once; each needs some 40 MiB. Over it: 503."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_IMPORTS", \.imports.maximumAccountImports, 1...1_000,
            "Imports of one account that are taken in at once. Over it: 429.",
            defaultText: "one less than FLOWHUB_MAX_IMPORTS; all of them where there are no accounts"),
        .number(
            "FLOWHUB_MAX_IMPORT_BYTES", \.imports.maximumBytes, 1_048_576...1_099_511_627_776,
            "Size of an import, unpacked. Over it: 413."),
        .number(
            "FLOWHUB_MAX_IMPORT_RATIO", \.imports.maximumRatio, 2...100_000,
            "How many times its size a gzip body may unpack to, beyond the first 64 MiB. Over it: 413."),
        .number(
            "FLOWHUB_MAX_RECORD_BYTES", \.imports.limits.recordBytes, 1_024...67_108_864, "Size of one record. Over it: 413."),
        .number(
            "FLOWHUB_MAX_CSV_COLUMNS", \.imports.limits.csvColumns, 1...100_000, "Columns of a CSV file. Over it: 413."),
        .number(
            "FLOWHUB_MAX_SUMMARY_FIELDS", \.imports.limits.summaryFields, 1...100_000,
            "Fields that an import's summary counts one by one."),
        .number(
            "FLOWHUB_MAX_RECORDS", \.imports.maximumRecords, 1...100_000, "Records that one request for some of them returns."),
        .number(
            "FLOWHUB_IMPORT_CLAIM_SECONDS", \.imports.claimSeconds, 4...3_600,
            "Without a word for so long, an import's instance counts as dead, and another one sweeps it."),
        .number(
            "FLOWHUB_IMPORT_PROGRESS_MS", \.imports.progressMilliseconds, 50...60_000,
            "Between two import_progress events, in milliseconds."),
        .number(
            "FLOWHUB_IMPORT_CACHE_SECONDS", \.imports.cacheSeconds, 1...2_592_000,
            "How long an import's sample and schema stay at hand."),
        .number(
            "FLOWHUB_IMPORT_CACHE_BYTES", \.importCacheBytes, 1_048_576...68_719_476_736,
            "Bytes of the samples and schemas in memory; without Redis."),
        .number(
            "FLOWHUB_DOWNLOAD_SECONDS", \.imports.downloadSeconds, 1...604_800, "How long a download link is good."),
        .number(
            "FLOWHUB_PACK_LEVEL", \.compressionLevel, 1...12, "How hard imports are packed: 1 is fast, 12 is small."),
        .number(
            "FLOWHUB_BULK_THREADS", \.bulkThreads, 0...256,
            "Threads that read, pack and unpack imports, behind those that serve; 0 is one a core."),
        .number(
            "FLOWHUB_STORAGE_HEALTH_SECONDS", \.storageHealthSeconds, 0...3_600,
            "How long an answer of /health/storage is good for."),
    ]

    private static let retention: [Setting] = [
        .number(
            "FLOWHUB_HISTORY_SECONDS", \.background.retention.historySeconds, 1...3_153_600_000, "Age at which events are pruned."
        ),
        .number(
            "FLOWHUB_HISTORY_EVENTS", \.background.retention.historyEvents, 1...100_000_000, "Events that are kept of one flow."),
        .number(
            "FLOWHUB_IDEMPOTENCY_SECONDS", \.background.retention.replySeconds, 60...31_536_000,
            "How long an Idempotency-Key is remembered."),
        .number("FLOWHUB_PRUNE_SECONDS", \.background.pruneSeconds, 1...86_400, "Between two rounds of pruning."),
    ]

    private static let logging: [Setting] = [
        .choice(
            "FLOWHUB_LOG_LEVEL", \.logLevel, ["trace", "debug", "info", "notice", "warning", "error", "critical"],
            "The least severe messages that are logged."),
        .choice("FLOWHUB_LOG_FORMAT", \.logFormat, ["text", "json"], "How log lines on standard error look."),
    ]

    /// The settings as a Markdown table, as in docs/OPERATIONS.md.
    static var markdown: String {
        var text = "| key | default | range | what |\n|---|---|---|---|\n"
        for setting in Self.all {
            let defaultText = setting.defaultText.isEmpty ? "none" : setting.defaultText
            text += "| `\(setting.key)` | \(defaultText) | \(setting.range) | \(setting.summary) |\n"
        }
        return text
    }
}
