public import FlowCore
import Synchronization

/// Verifies tokens and derives their principals (RFC 7519, RFC 8725). Safe to use from any thread.
///
/// The hub itself parses the header, chooses the key and checks the claims; jwt-kit verifies the signature. The caller must
/// check revocations for each request, because a subject may be revoked while its principal is cached.
public final class TokenVerifier: Sendable {
    private struct State {
        var keys: TokenKeys
        var cache: TokenCache
        /// Incremented when the keys are replaced, so that a result verified with the old keys is not cached.
        var generation = 0
    }

    private let configuration: AccessConfiguration
    private let rules: TokenRules
    private let state: Mutex<State>

    /// Checks the settings and reads the keys.
    ///
    /// - Throws: ``AccessConfigurationError`` if a setting or a key is invalid; the hub must not start then.
    public init(_ configuration: AccessConfiguration) async throws(AccessConfigurationError) {
        try Self.validate(configuration)
        self.configuration = configuration
        self.rules = TokenRules(
            audience: configuration.audience,
            issuer: configuration.issuer,
            requireExpiration: configuration.requireExpiration,
            leeway: Int64(configuration.leewaySeconds),
            maximumLifetime: configuration.maximumLifetime
        )
        let keys = try await TokenKeys.load(configuration, mayBeEmpty: false)
        self.state = Mutex(State(keys: keys, cache: TokenCache(capacity: configuration.cacheSize)))
    }

    /// Whether no key is configured, so that every request has the principal ``FlowCore/Principal/open``.
    public var isOpen: Bool { self.configuration.isOpen }

    /// Seconds after `exp` at which a stream is closed: see ``FlowCore/Principal/endsAt(leeway:)``.
    public var leewaySeconds: Int64 { self.rules.leeway }

    /// The principal of a token that was verified before and has not expired. Does not suspend, so event loops may call it.
    ///
    /// - Parameter now: Unix time in seconds.
    /// - Returns: `nil` if the token must be verified with ``verify(_:now:)``.
    public func cached(_ token: String, now: Int64) -> Principal? {
        if self.isOpen { return .open }
        return self.state.withLock { state in
            guard let principal = state.cache.principal(for: token) else { return nil }
            guard !principal.isExpired(now: now, leeway: self.rules.leeway) else {
                state.cache.remove(token)
                return nil
            }
            return principal
        }
    }

    /// The principal of a token, cached or newly verified.
    ///
    /// Verification uses about 100 us of CPU time on the calling executor. An event loop therefore calls ``cached(_:now:)``
    /// first and this function on another executor.
    ///
    /// - Parameter now: Unix time in seconds.
    /// - Throws: ``AccessError`` `token_expired` for a token that was valid before, else `token_invalid`.
    public func verify(_ token: String, now: Int64) async throws(AccessError) -> Principal {
        if let principal = self.cached(token, now: now) { return principal }
        let (keys, generation) = self.state.withLock { ($0.keys, $0.generation) }
        let principal = try self.principal(of: token, keys, now: now)
        self.state.withLock { state in
            if state.generation == generation { state.cache.insert(principal, for: token) }
        }
        return principal
    }

    /// Reads the keys again, for a key rotation without a restart. Empties the cache, because the keys of cached tokens may
    /// be gone. A key set that is valid and has no usable key withdraws all its keys.
    ///
    /// - Returns: the number of usable keys in the key set.
    /// - Throws: ``AccessConfigurationError`` if the key set cannot be read or is invalid; the previous keys stay in use.
    @discardableResult
    public func reload() async throws(AccessConfigurationError) -> Int {
        let keys = try await TokenKeys.load(self.configuration, mayBeEmpty: true)
        self.state.withLock { state in
            state.keys = keys
            state.cache.removeAll()
            state.generation += 1
        }
        return keys.keySetCount
    }

    /// What the hub makes of a token now, and what the token says. Neither reads nor changes the cache.
    /// - Parameter now: Unix time in seconds.
    public func report(on token: String, now: Int64) -> TokenReport {
        TokenReport(token) { () throws(AccessError) in try self.principal(of: token, self.state.withLock { $0.keys }, now: now) }
    }

    private func principal(of token: String, _ keys: TokenKeys, now: Int64) throws(AccessError) -> Principal {
        let parts = try TokenParts(token, maximumBytes: self.configuration.maximumTokenBytes)
        let header = try TokenHeader(parts.header)
        try keys.check(parts, header: header)
        return try self.rules.principal(of: parts.payload, now: now)
    }

    /// The number of cached tokens.
    public var cachedCount: Int { self.state.withLock { $0.cache.count } }

    /// Checks the settings that are not keys.
    private static func validate(_ configuration: AccessConfiguration) throws(AccessConfigurationError) {
        guard (0...60).contains(configuration.leewaySeconds) else {
            throw AccessConfigurationError(
                "FLOWHUB_JWT_LEEWAY",
                "a clock tolerance of \(configuration.leewaySeconds) s is out of range",
                remedy: "Set a tolerance of 0 to 60 seconds, and synchronize the clocks of the hub and the token issuer by NTP."
            )
        }
        guard configuration.maximumTokenBytes > 0, configuration.cacheSize >= 0 else {
            throw AccessConfigurationError(
                "FLOWHUB_JWT_MAX_BYTES, FLOWHUB_JWT_CACHE",
                "the values \(configuration.maximumTokenBytes) and \(configuration.cacheSize) are not both in range",
                remedy: "FLOWHUB_JWT_MAX_BYTES must be at least 1 and FLOWHUB_JWT_CACHE at least 0."
            )
        }
        if let audience = configuration.audience, audience.isEmpty {
            throw AccessConfigurationError(
                "FLOWHUB_JWT_AUDIENCE",
                "the value is empty",
                remedy: "Set it to the aud claim of the issuer's tokens, or unset it to skip the check of aud."
            )
        }
        if let issuer = configuration.issuer, issuer.isEmpty {
            throw AccessConfigurationError(
                "FLOWHUB_JWT_ISSUER",
                "the value is empty",
                remedy: "Set it to the iss claim of the issuer's tokens, or unset it to skip the check of iss."
            )
        }
    }
}
