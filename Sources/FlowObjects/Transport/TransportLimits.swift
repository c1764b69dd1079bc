/// What the transport may take, and for how long.
struct TransportLimits: Hashable, Sendable {
    /// Requests under way at a time, not counting streams. Others wait.
    var connections = 16
    /// Answers that are being read at their readers' pace, at a time. Others wait.
    var streams = 64
    /// To reach the server, TLS included.
    var connectMilliseconds = 10_000
    /// Without a byte in either direction; the pauses of a slow reader do not count. libcurl looks at the average of the last five
    /// seconds, so that it may take as much longer.
    var stallSeconds = 30
    /// Until the whole answer, or the head of a stream, is there; waiting for a connection included.
    var requestMilliseconds = 120_000
    /// A connection that was not used for so long is not used again.
    var idleSeconds = 60
    /// Bytes of an answer that nobody has read yet.
    var bufferBytes = 262_144
    /// Bytes of an answer's head.
    var headBytes = 65_536

    /// Bytes that libcurl takes from a socket at once: those come in addition when a reader is behind.
    static let receiveBytes = 65_536
}
