/// Limits and timeouts of the transport.
struct TransportLimits: Hashable, Sendable {
    /// Maximum number of requests in flight, not counting streams. Others wait.
    var connections = 16
    /// Maximum number of streamed responses in flight. Others wait.
    var streams = 64
    /// Timeout in milliseconds for connecting, TLS included.
    var connectMilliseconds = 10_000
    /// Idle timeout in seconds without a byte in either direction. Pauses of a slow reader do not count. libcurl uses
    /// the average of the last 5 s and may therefore take that much longer.
    var stallSeconds = 30
    /// Timeout in milliseconds for the whole response, or for the head of a streamed one. It includes the wait for a
    /// connection.
    var requestMilliseconds = 120_000
    /// Seconds after which an idle connection is no longer reused.
    var idleSeconds = 60
    /// Maximum bytes of a response that are buffered for its reader.
    var bufferBytes = 262_144
    /// Maximum bytes of a response head.
    var headBytes = 65_536

    /// Maximum bytes that libcurl reads from a socket in one call. They may be buffered in addition when the reader is
    /// slow.
    static let receiveBytes = 65_536
}
