/// How tokens are checked and which pages may call.
public struct AccessConfiguration: Sendable {
    /// `FLOWHUB_JWT_KEY`: the HS256 secret, at least 32 bytes (RFC 7518, 3.2).
    public var hmacKey: String?
    /// `FLOWHUB_JWKS`: path of a file with a JSON Web Key Set (RFC 7517).
    public var jwksPath: String?
    /// `FLOWHUB_JWT_AUDIENCE`: what `aud` must contain. Without it `aud` is not looked at.
    public var audience: String?
    /// `FLOWHUB_JWT_REQUIRE_EXP`: whether a token without `exp` is refused.
    public var requireExpiration: Bool
    /// Seconds that clocks may differ, for `exp`, `nbf` and `iat`: 0 to 60.
    public var leewaySeconds: Int
    /// A longer token is refused unread.
    public var maximumTokenBytes: Int
    /// Verified tokens that are remembered, so that a reconnect costs no signature check. 0: none.
    public var cacheSize: Int
    /// `FLOWHUB_CORS_ORIGINS`: see ``CORSPolicy``.
    public var corsOrigins: [String]

    public init(
        hmacKey: String? = nil,
        jwksPath: String? = nil,
        audience: String? = nil,
        requireExpiration: Bool = true,
        leewaySeconds: Int = 60,
        maximumTokenBytes: Int = 8192,
        cacheSize: Int = 10_000,
        corsOrigins: [String] = []
    ) {
        self.hmacKey = hmacKey
        self.jwksPath = jwksPath
        self.audience = audience
        self.requireExpiration = requireExpiration
        self.leewaySeconds = leewaySeconds
        self.maximumTokenBytes = maximumTokenBytes
        self.cacheSize = cacheSize
        self.corsOrigins = corsOrigins
    }

    /// Whether the hub has no keys at all, so that everybody is ``FlowCore/Principal/open``.
    ///
    /// An empty `FLOWHUB_JWT_KEY` is a key, a bad one: a secret that did not arrive must not open the hub.
    public var isOpen: Bool { self.hmacKey == nil && self.jwksPath == nil }
}

/// A setting with which the hub does not start. The description names it and says what to do; it never shows a key.
public struct AccessConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
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
