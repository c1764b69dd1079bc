/// What the object store may take, and for how long.
public struct R2Limits: Hashable, Sendable {
    /// Bytes of a part of a large object; R2 wants all but the last alike, and takes 10,000 of an object. An object of at most one
    /// part is put in one request.
    public var partBytes = 12_582_912
    /// Parts of one object that are under way at a time.
    public var partsInFlight = 2
    /// How often a request is made before it has failed.
    public var attempts = 5
    /// To reach R2, TLS included.
    public var connectSeconds = 10
    /// Without a byte in either direction, after which a request is given up; libcurl takes up to five seconds more to notice. The
    /// pauses of a slow reader do not count.
    public var stallSeconds = 30
    /// Until a request has its answer.
    public var requestSeconds = 120
    /// After which no further attempt is made.
    public var retrySeconds = 300
    /// Before the second attempt, at most; each one after may wait twice as long.
    public var retryBaseMilliseconds = 200
    /// Between two attempts, at most.
    public var retryCapMilliseconds = 20_000
    /// For how long after a change of credentials R2 may not know them yet.
    public var rotationSeconds = 60
    /// Requests under way at a time, not counting downloads.
    public var connections = 16
    /// Downloads under way at a time; others wait.
    public var downloads = 64
    /// Bytes of a download that its reader has not taken yet.
    public var bufferBytes = 262_144
    /// Of one object. R2 takes no more; only a test wants fewer.
    var maximumParts = 10_000

    public init() {}

    /// From R2's own lower limit (Cloudflare, "Limits") to what memory should bear.
    public static let partBytesRange = 5_242_880...536_870_912

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
