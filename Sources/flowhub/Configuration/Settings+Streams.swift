import FlowCore
import FlowHTTP

extension Setting {
    /// The limits and intervals of event streams.
    static let streams: [Setting] = [
        .number(
            "FLOWHUB_MAX_CONNECTIONS", \.streams.maximumConnections, 1...10_000_000,
            "Maximum event streams of the instance; further ones get only the event closing with reason full.",
            defaultText: "what the limit of open files allows"),
        .number(
            "FLOWHUB_MAX_CONNECTIONS_PER_SUBJECT", \.streams.maximumConnectionsPerSubject, 1...10_000_000,
            "Maximum event streams per token subject; further ones get only closing with reason full. Not used without keys."),
        .number(
            "FLOWHUB_MAX_FLOWS_PER_CONNECTION", \.streams.maximumFlows, 1...100,
            "Maximum flows of one event stream that a GET names; a request for more is rejected with 400."),
        .number(
            "FLOWHUB_MAX_FLOWS_PER_POST", \.streams.maximumFlowsInBody, 1...10_000,
            "Maximum flows of one event stream that the body of a POST or QUERY names; more are rejected with 400."),
        .number(
            "FLOWHUB_MAX_FLOWS_PER_SUBJECT", \.streams.maximumFlowsPerSubject, 1...10_000_000,
            "Maximum flows of all streams of a token subject that have several; then closing with reason full. Not used without keys."
        ),
        .number(
            "FLOWHUB_MAX_STREAM_FLOWS", \.streams.maximumStreamFlows, 1...100_000_000,
            "Maximum flows of all streams of the instance that have several, about 1 KiB each; then closing with reason full."),
        .number(
            "FLOWHUB_MAX_QUEUED_BYTES", \.streams.maximumQueuedBytes, 65_536...1_099_511_627_776,
            "Maximum unsent bytes of all streams; with more, new ones are rejected and those with the most bytes are closed."),
        .number(
            "FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER", \.streams.maximumQueuedBytesPerSubscriber, 4_096...16_777_216,
            "Maximum unsent bytes of one stream; with more, it pauses until they are sent and then continues from history."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_BYTES", \.streams.transients.eventBytes, 0...67_108_864,
            "Maximum bytes of a transient event's data that is kept for snapshots; a larger one is delivered, but not kept."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_BYTES_PER_FLOW", \.streams.transients.flowBytes, 0...67_108_864,
            "Maximum bytes of the transient events of a flow that are kept for snapshots; the oldest are evicted."),
        .number(
            "FLOWHUB_MAX_KEPT_TRANSIENT_TYPES", \.streams.transients.types, 1...1_000,
            "Maximum event types of which a flow's latest transient event is kept for snapshots; the oldest are evicted."),
        .number(
            "FLOWHUB_HEARTBEAT_SECONDS", \.streams.heartbeatSeconds, 1...300,
            "Interval of heartbeat events on a stream, in seconds."),
        .number(
            "FLOWHUB_RETRY_MS", \.streams.retryMilliseconds, 10...600_000,
            "Average delay before a client reconnects (SSE retry), in milliseconds; random per stream, from 50 % to 150 %."),
        .number(
            "FLOWHUB_LINGER_MS", \.streams.lingerMilliseconds, 0...3_600_000,
            "Time that a flow's streams stay open for further events after the flow has ended, in milliseconds."),
        .number(
            "FLOWHUB_OPEN_SECONDS", \.streams.openSeconds, 1...60,
            "Timeout for opening a stream, in seconds; then it gets the event closing with reason unavailable."),
    ]
}
