/// Limits and timeouts of the transport.
struct TransportLimits: Hashable, Sendable {
    /// Maximum number of requests in flight, not counting those with streamed responses. Further requests wait.
    var connections = 16
    /// Maximum number of requests with streamed responses in flight. Further such requests wait.
    var streams = 64
    /// Timeout in milliseconds for connecting, TLS included.
    var connectMilliseconds = 10_000
    /// Idle timeout: seconds without a byte in either direction. Pauses of a slow reader do not count. libcurl averages
    /// the speed over 5 s, and may therefore detect a stall up to 5 s later.
    var stallSeconds = 30
    /// Timeout in milliseconds for the whole response; if the response is streamed, for its head only. It includes the
    /// wait for a connection.
    var requestMilliseconds = 120_000
    /// Seconds after which an idle connection is no longer reused.
    var idleSeconds = 60
    /// Maximum received bytes of one response that are in memory and not read yet, those in libcurl's buffer included.
    var bufferBytes = 262_144
    /// Maximum bytes of a response head.
    var headBytes = 65_536

    /// Maximum bytes that libcurl reads from a socket in one call. While a transfer is paused, libcurl may buffer as many;
    /// ``bufferBytes`` includes them.
    static let receiveBytes = 65_536
}
