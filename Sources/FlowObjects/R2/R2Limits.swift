/// Limits and timeouts of the object store.
public struct R2Limits: Hashable, Sendable {
    /// Bytes of each part of a multipart upload. R2 requires all parts but the last to have the same size, and allows
    /// 10,000 parts per object. An object of at most this size is uploaded in one request.
    public var partBytes = 12_582_912
    /// Maximum number of parts of one object in flight.
    public var partsInFlight = 2
    /// Maximum number of attempts per request.
    public var attempts = 5
    /// Timeout in seconds for connecting, TLS included.
    public var connectSeconds = 10
    /// Idle timeout: seconds without a byte in either direction after which a request fails. libcurl takes up to 5 s
    /// more to detect it. Pauses of a slow reader do not count.
    public var stallSeconds = 30
    /// Timeout in seconds for a whole response; for a download, for its response head only.
    public var requestSeconds = 120
    /// Seconds after the start of a request after which no further attempt starts.
    public var retrySeconds = 300
    /// Maximum backoff in milliseconds before the second attempt. The maximum doubles with each further attempt.
    public var retryBaseMilliseconds = 200
    /// Upper bound of the backoff in milliseconds.
    public var retryCapMilliseconds = 20_000
    /// Seconds after a change of credentials during which a request is retried if R2 rejects the new credentials.
    public var rotationSeconds = 60
    /// Maximum number of requests in flight, not counting downloads; further requests wait.
    public var connections = 16
    /// Maximum number of downloads in flight; further downloads wait.
    public var downloads = 64
    /// Maximum received bytes of one download that are in memory and were not read yet.
    public var bufferBytes = 262_144
    /// Maximum number of parts of one object. This is R2's limit; only tests set a lower one.
    var maximumParts = 10_000

    public init() {}

    /// Valid range of ``partBytes``: from R2's minimum (Cloudflare, "Limits") to a maximum that keeps memory use
    /// acceptable.
    public static let partBytesRange = 5_242_880...536_870_912

    /// The transport's limits, with the values of these limits.
    var transport: TransportLimits {
        var limits = TransportLimits()
        limits.connections = self.connections
        limits.streams = self.downloads
        limits.connectMilliseconds = self.connectSeconds * 1_000
        limits.stallSeconds = self.stallSeconds
        limits.requestMilliseconds = self.requestSeconds * 1_000
        limits.bufferBytes = self.bufferBytes
        return limits
    }
}
