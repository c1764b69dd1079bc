import FlowCore
import FlowHTTP

extension Setting {
    /// The limits and timeouts of ordinary requests and their connections.
    static let requests: [Setting] = [
        .number(
            "FLOWHUB_MAX_BODY_BYTES", \.http.maximumBodyBytes, 1_024...1_073_741_824,
            "Maximum bytes of a request body, except that of an import; a larger one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_HEADER_BYTES", \.http.maximumHeaderBytes, 1_024...1_048_576,
            "Maximum bytes of all header fields of a request together; more are rejected with 431."),
        .number(
            "FLOWHUB_MAX_URI_BYTES", \.http.maximumURIBytes, 256...1_048_576,
            "Maximum bytes of a request target (path and query); a longer one is rejected with 414."),
        .number(
            "FLOWHUB_MAX_STATE_BYTES", \.http.changeLimits.maximumStateBytes, 1_024...67_108_864,
            "Maximum bytes of a flow's state; a larger one is rejected with 413."),
        .number(
            "FLOWHUB_MAX_EVENT_BYTES", \.http.maximumEventBytes, 1_024...67_108_864,
            "Maximum bytes of the data of one published event; larger data is rejected with 413."),
        .number(
            "FLOWHUB_MAX_BATCH_EVENTS", \.http.maximumBatchEvents, 1...100_000,
            "Maximum events in one publish request; a request with more is rejected with 413."),
        .number(
            "FLOWHUB_MAX_JSON_DEPTH", \.http.maximumJSONDepth, 1...512,
            "Maximum nesting depth of JSON in a request; deeper JSON is rejected with 400."),
        .number(
            "FLOWHUB_MAX_ORDINARY_CONNECTIONS", \.http.maximumOrdinaryConnections, 16...1_000_000,
            "Maximum connections without an event stream, per event loop; a further one closes the longest idle one."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_CONNECTIONS", \.http.maximumAccountConnections, 0...1_000_000,
            "Maximum of these with a request of one account in progress, per event loop; then 429. 0: half of that limit."),
        .number(
            "FLOWHUB_HEAD_TIMEOUT_SECONDS", \.http.headTimeoutSeconds, 1...3_600,
            "Timeout from opening a connection to the end of the first request head, in seconds; then 408."),
        .number(
            "FLOWHUB_BODY_TIMEOUT_SECONDS", \.http.bodyTimeoutSeconds, 1...3_600,
            "Timeout from the request head to the end of the body, in seconds; then 408. For imports: time without a byte."),
        .number(
            "FLOWHUB_ANSWER_TIMEOUT_SECONDS", \.http.answerTimeoutSeconds, 1...3_600,
            "Time in which a client reads nothing of a response until its connection is closed, in seconds."),
        .number(
            "FLOWHUB_ANSWER_MIN_BYTES_PER_SECOND", \.http.answerBytesPerSecond, 0...1_073_741_824,
            "Least rate at which a client must read a response that waits for it, averaged over this time; 0: none."),
        .number(
            "FLOWHUB_IDLE_TIMEOUT_SECONDS", \.http.idleTimeoutSeconds, 1...3_600,
            "Timeout from a response to the end of the next request head, in seconds; then the connection is closed."),
    ]
}
