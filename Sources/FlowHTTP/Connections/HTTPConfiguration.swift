public import FlowCore

/// The limits and time-outs of connections and ordinary requests. Each is a configuration key.
public struct HTTPConfiguration: Sendable {
    /// `FLOWHUB_HOST`
    public var host = "127.0.0.1"
    /// `PORT`
    public var port = 8080
    /// `FLOWHUB_MAX_BODY_BYTES`: of a request.
    public var maximumBodyBytes = 2_097_152
    /// `FLOWHUB_MAX_HEADER_BYTES`: of all header fields of a request.
    public var maximumHeaderBytes = 16_384
    /// `FLOWHUB_MAX_URI_BYTES`: of a request's target.
    public var maximumURIBytes = 8_192
    /// `FLOWHUB_MAX_BATCH_EVENTS`: of one publication.
    public var maximumBatchEvents = 1_000
    /// `FLOWHUB_MAX_JSON_DEPTH`
    public var maximumJSONDepth = 64
    /// `FLOWHUB_MAX_EVENT_BYTES`: of one event's data.
    public var maximumEventBytes = 262_144
    /// `FLOWHUB_MAX_PATTERN_BYTES`: of one mapping pattern.
    public var maximumPatternBytes = 65_536
    /// `FLOWHUB_PATTERN_CONFIDENCE`: the least that a mapping pattern needs to be kept.
    public var patternConfidence = 0.8
    /// `FLOWHUB_PATTERN_SECONDS`: how long a mapping pattern is kept.
    public var patternSeconds = 86_400
    /// `FLOWHUB_HEAD_TIMEOUT_SECONDS`: from the first byte of a connection or request to the end of its head.
    public var headTimeoutSeconds = 10
    /// `FLOWHUB_BODY_TIMEOUT_SECONDS`: from the end of the head to the end of the body.
    public var bodyTimeoutSeconds = 30
    /// `FLOWHUB_ANSWER_TIMEOUT_SECONDS`: for the peer to take more of an answer that waits for it.
    public var answerTimeoutSeconds = 60
    /// `FLOWHUB_IDLE_TIMEOUT_SECONDS`: between two requests of a connection.
    public var idleTimeoutSeconds = 75
    /// `FLOWHUB_DRAIN_SECONDS`: over how long streams are closed on SIGTERM.
    public var drainSeconds = 30
    /// `FLOWHUB_EVENT_LOOPS`: threads that serve sockets; 0 for one a core.
    public var eventLoops = 0
    /// `FLOWHUB_MAX_ORDINARY_CONNECTIONS`: connections without an event stream, for each event loop.
    public var maximumOrdinaryConnections = 4_096
    public var changeLimits = ChangeLimits()

    public init() {}
}
