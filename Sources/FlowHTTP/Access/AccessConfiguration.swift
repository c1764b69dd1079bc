/// Settings of token verification and of cross-origin access from browsers.
public struct AccessConfiguration: Sendable {
    /// `FLOWHUB_JWT_KEY`: the HS256 secret, at least 32 bytes (RFC 7518, 3.2).
    public var hmacKey: String?
    /// `FLOWHUB_JWKS`: path of a file with a JSON Web Key Set (RFC 7517).
    public var jwksPath: String?
    /// `FLOWHUB_JWT_AUDIENCE`: the value that a token's `aud` must contain. `nil`: `aud` is not checked.
    public var audience: String?
    /// `FLOWHUB_JWT_ISSUER`: the value that a token's `iss` must have. `nil`: `iss` is not checked.
    public var issuer: String?
    /// `FLOWHUB_JWT_REQUIRE_EXP`: whether a token without `exp` is rejected.
    public var requireExpiration: Bool
    /// `FLOWHUB_JWT_LEEWAY`: clock difference that is tolerated for `exp`, `nbf` and `iat`, in seconds: 0 to 60.
    public var leewaySeconds: Int
    /// `FLOWHUB_JWT_MAX_SECONDS`: maximum seconds from a token's `iat` to its `exp`; 0: no limit. A revocation is kept for this
    /// time.
    public var maximumLifetime: Int64
    /// `FLOWHUB_JWT_MAX_BYTES`: maximum length of a token in bytes. A longer token is rejected without being parsed.
    public var maximumTokenBytes: Int
    /// `FLOWHUB_JWT_CACHE`: maximum number of verified tokens in the cache, which saves the signature check when a client
    /// reconnects. 0: no cache.
    public var cacheSize: Int
    /// `FLOWHUB_CORS_ORIGINS`: the entries of the ``CORSPolicy``.
    public var corsOrigins: [String]
    /// `FLOWHUB_TRUSTED_PROXIES`: the entries of ``TrustedProxies``.
    public var trustedProxies: [String] = []
    /// `FLOWHUB_FORWARDED`: raw value of the ``TrustedProxies/Statement``.
    public var forwarded = TrustedProxies.Statement.xForwardedFor.rawValue

    public init(
        hmacKey: String? = nil,
        jwksPath: String? = nil,
        audience: String? = nil,
        requireExpiration: Bool = true,
        leewaySeconds: Int = 60,
        maximumLifetime: Int64 = 31_622_400,
        maximumTokenBytes: Int = 8192,
        cacheSize: Int = 10_000,
        corsOrigins: [String] = []
    ) {
        self.hmacKey = hmacKey
        self.jwksPath = jwksPath
        self.audience = audience
        self.requireExpiration = requireExpiration
        self.leewaySeconds = leewaySeconds
        self.maximumLifetime = maximumLifetime
        self.maximumTokenBytes = maximumTokenBytes
        self.cacheSize = cacheSize
        self.corsOrigins = corsOrigins
    }

    /// Seconds after its time for which a revocation must be kept: until the last token that it revokes has expired. 0: for
    /// ever.
    public var revocationSeconds: Int64 {
        self.maximumLifetime > 0 ? self.maximumLifetime + Int64(self.leewaySeconds) : 0
    }

    /// Whether no key is configured, so that every request has the principal ``FlowCore/Principal/open``.
    ///
    /// An empty `FLOWHUB_JWT_KEY` counts as an invalid key: a secret that is missing by mistake must not open the hub to
    /// requests without a token.
    public var isOpen: Bool { self.hmacKey == nil && self.jwksPath == nil }
}

/// An invalid access setting, or an invalid argument of ``TokenMinter``. The description consists of the name, the problem
/// and the remedy. It never contains a key.
public struct AccessConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Name of the setting or argument.
    public let setting: String
    public let problem: String
    public let remedy: String

    init(_ setting: String, _ problem: String, remedy: String) {
        self.setting = setting
        self.problem = problem
        self.remedy = remedy
    }

    public var description: String { "\(self.setting): \(self.problem). \(self.remedy)" }
}
