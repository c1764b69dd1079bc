import FlowHTTP

extension Setting {
    /// The limits of bytes over all connections, of an account, and of a connection.
    static let byteBudgets: [Setting] = [
        .number(
            "FLOWHUB_MAX_SNAPSHOT_BYTES", \.streams.maximumSnapshotBytes, 1_048_576...1_099_511_627_776,
            "Maximum bytes of flow states and snapshots that event loops keep for new subscribers; all are dropped when idle."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_BODY_BYTES", \.http.maximumAccountBodyBytes, 1_048_576...1_099_511_627_776,
            "Maximum bytes of the request bodies of one account in memory; further requests are rejected with 429.",
            defaultText: "half of FLOWHUB_MAX_TOTAL_BODY_BYTES; all of it without keys"),
        .number(
            "FLOWHUB_MAX_TOTAL_BODY_BYTES", \.http.maximumTotalBodyBytes, 1_048_576...1_099_511_627_776,
            "Maximum bytes of all request bodies in memory; further requests are rejected with 503."),
        .number(
            "FLOWHUB_MAX_PIPELINED_BYTES", \.http.maximumPipelinedBytes, 1_024...16_777_216,
            "Bytes of pipelined requests of one connection from which on its socket is not read."),
        .number(
            "FLOWHUB_MAX_TOTAL_PIPELINED_BYTES", \.http.maximumTotalPipelinedBytes, 65_536...1_099_511_627_776,
            "Maximum bytes of the pipelined requests of all connections; a connection that adds more loses its own."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_RESPONSE_BYTES", \.http.maximumAccountResponseBytes, 1_048_576...1_099_511_627_776,
            "Maximum bytes of responses that the clients of one account have not read; further requests get 429.",
            defaultText: "half of FLOWHUB_MAX_TOTAL_RESPONSE_BYTES; all of it without keys"),
        .number(
            "FLOWHUB_MAX_TOTAL_RESPONSE_BYTES", \.http.maximumTotalResponseBytes, 1_048_576...1_099_511_627_776,
            "Maximum bytes of responses, without event streams, that clients have not read; further requests get 503."),
    ]

    /// The limits of the upload of an import.
    static let uploads: [Setting] = [
        .number(
            "FLOWHUB_IMPORT_BUFFER_BYTES", \.http.importBufferBytes, 65_536...67_108_864,
            "Bytes of an import that wait to be parsed from which on its socket is not read."),
        .number(
            "FLOWHUB_IMPORT_MIN_BYTES_PER_SECOND", \.http.importBytesPerSecond, 0...1_073_741_824,
            "Minimum average rate of an upload while the hub waits for it; a slower one ends with 408. 0: no minimum."),
        .number(
            "FLOWHUB_IMPORT_GRACE_SECONDS", \.http.importGraceSeconds, 1...3_600,
            "Time over which the rate of an upload is averaged, in seconds."),
        .number(
            "FLOWHUB_IMPORT_SECONDS", \.http.importSeconds, 1...604_800,
            "Time limit for the upload of an import, in seconds; then 408."),
    ]
}
