public import FlowCore

/// The limits and timeouts of connections and ordinary requests.
public struct HTTPConfiguration: Sendable {
    /// `FLOWHUB_HOST`: address to listen on.
    public var host = "127.0.0.1"
    /// `PORT`: port to listen on.
    public var port = 8080
    /// `FLOWHUB_OPS_HOST`: address of the operations listener.
    public var operationsHost = "127.0.0.1"
    /// `FLOWHUB_OPS_PORT`: port of the operations listener, which serves metrics and health; `nil`: there is none, and
    /// ``port`` serves them.
    public var operationsPort: Int?
    /// `FLOWHUB_MAX_BODY_BYTES`: maximum size of a request body, except of an import.
    public var maximumBodyBytes = 2_097_152
    /// `FLOWHUB_MAX_TOTAL_BODY_BYTES`: maximum bytes of all request bodies in memory; at least ``maximumBodyBytes``.
    public var maximumTotalBodyBytes = 67_108_864
    /// `FLOWHUB_MAX_ACCOUNT_BODY_BYTES`: maximum bytes of the request bodies of one account in memory; at least
    /// ``maximumBodyBytes``.
    public var maximumAccountBodyBytes = 33_554_432
    /// `FLOWHUB_MAX_PIPELINED_BYTES`: bytes of pipelined request parts of one connection from which on its socket is not read.
    public var maximumPipelinedBytes = 65_536
    /// `FLOWHUB_MAX_TOTAL_PIPELINED_BYTES`: maximum bytes of the pipelined request parts of all connections.
    public var maximumTotalPipelinedBytes = 33_554_432
    /// `FLOWHUB_MAX_TOTAL_RESPONSE_BYTES`: maximum bytes of ordinary responses that wait for clients to read them.
    public var maximumTotalResponseBytes = 134_217_728
    /// `FLOWHUB_MAX_ACCOUNT_RESPONSE_BYTES`: the same for the responses to one account.
    public var maximumAccountResponseBytes = 67_108_864
    /// `FLOWHUB_MAX_HEADER_BYTES`: maximum size of all header fields of a request together.
    public var maximumHeaderBytes = 16_384
    /// `FLOWHUB_MAX_URI_BYTES`: maximum length of a request target.
    public var maximumURIBytes = 8_192
    /// `FLOWHUB_MAX_BATCH_EVENTS`: maximum number of events in one request to publish.
    public var maximumBatchEvents = 1_000
    /// `FLOWHUB_MAX_JSON_DEPTH`: maximum number of nested objects and arrays of JSON in requests.
    public var maximumJSONDepth = 64
    /// `FLOWHUB_MAX_EVENT_BYTES`: maximum size of one event's data.
    public var maximumEventBytes = 262_144
    /// `FLOWHUB_MAX_PATTERN_BYTES`: maximum size of one mapping pattern.
    public var maximumPatternBytes = 65_536
    /// `FLOWHUB_PATTERN_CONFIDENCE`: minimum confidence of a mapping pattern that is stored.
    public var patternConfidence = 0.8
    /// `FLOWHUB_PATTERN_SECONDS`: lifetime of a mapping pattern.
    public var patternSeconds = 86_400
    /// `FLOWHUB_HEAD_TIMEOUT_SECONDS`: timeout for the first request head, from the opening of the connection.
    public var headTimeoutSeconds = 10
    /// `FLOWHUB_BODY_TIMEOUT_SECONDS`: timeout from the end of the request head to the end of the body; for an import,
    /// between two received chunks of the body.
    public var bodyTimeoutSeconds = 30
    /// `FLOWHUB_IMPORT_BUFFER_BYTES`: bytes of an import that were read and not parsed from which on its socket is not read.
    public var importBufferBytes = 262_144
    /// `FLOWHUB_IMPORT_MIN_BYTES_PER_SECOND`: least average rate at which a client must send an import; 0: none.
    public var importBytesPerSecond = 4_096
    /// `FLOWHUB_IMPORT_GRACE_SECONDS`: period over which the rate of an import is averaged.
    public var importGraceSeconds = 30
    /// `FLOWHUB_IMPORT_SECONDS`: time limit for the upload of an import.
    public var importSeconds = 21_600
    /// `FLOWHUB_ANSWER_TIMEOUT_SECONDS`: time in which the client must read some bytes of a response that waits for it.
    public var answerTimeoutSeconds = 60
    /// `FLOWHUB_ANSWER_MIN_BYTES_PER_SECOND`: least average rate at which a client must read a response that waits for it, over
    /// ``answerTimeoutSeconds``; 0: none.
    public var answerBytesPerSecond = 256
    /// `FLOWHUB_IDLE_TIMEOUT_SECONDS`: timeout from a response to the end of the next request head.
    public var idleTimeoutSeconds = 75
    /// `FLOWHUB_DRAIN_SECONDS`: time over which the closing of streams is spread after SIGTERM.
    public var drainSeconds = 30
    /// `FLOWHUB_EVENT_LOOPS`: number of event loop threads; 0: one per core.
    public var eventLoops = 0
    /// `FLOWHUB_MAX_ORDINARY_CONNECTIONS`: maximum number of connections without an event stream, per event loop. A few more are
    /// accepted for health checks and metrics only.
    public var maximumOrdinaryConnections = 4_096
    /// `FLOWHUB_MAX_ACCOUNT_CONNECTIONS`: maximum number of these connections with a request of one account in progress, per
    /// event loop; 0: half of ``maximumOrdinaryConnections``.
    public var maximumAccountConnections = 0
    /// `FLOWHUB_ACCESS_LOG`: which requests are logged.
    public var accessLog = AccessLogScope.off
    /// Limits of the changes that the store accepts.
    public var changeLimits = ChangeLimits()

    public init() {}
}
