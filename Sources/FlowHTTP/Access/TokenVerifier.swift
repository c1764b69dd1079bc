public import FlowCore
import Synchronization

/// Says who a token is for, or why it is none (RFC 7519, RFC 8725).
///
/// The header, the choice of the key and the claims are the hub's own reading; jwt-kit checks the signature. Revocations are
/// the caller's to ask after, each time: they change while a principal is remembered.
public final class TokenVerifier: Sendable {
    private struct State {
        var keys: TokenKeys
        var cache: TokenCache
        /// Raised with the keys, so that a check that began with the old ones is not remembered.
        var generation = 0
    }

    private let configuration: AccessConfiguration
    private let rules: TokenRules
    private let state: Mutex<State>

    /// Reads the keys.
    ///
    /// - Throws: a setting with which the hub must not start.
    public init(_ configuration: AccessConfiguration) async throws(AccessConfigurationError) {
        try Self.validate(configuration)
        self.configuration = configuration
        self.rules = TokenRules(
            audience: configuration.audience,
            requireExpiration: configuration.requireExpiration,
            leeway: Int64(configuration.leewaySeconds)
        )
        let keys = try await TokenKeys.load(configuration)
        self.state = Mutex(State(keys: keys, cache: TokenCache(capacity: configuration.cacheSize)))
    }

    /// Whether there are no keys and every request is ``FlowCore/Principal/open``'s.
    public var isOpen: Bool { self.configuration.isOpen }

    /// Seconds after `exp` at which a stream is closed: see ``FlowCore/Principal/endsAt(leeway:)``.
    public var leewaySeconds: Int64 { self.rules.leeway }

    /// The principal of a token that was verified before and has not expired; without waiting, for an event loop.
    ///
    /// - Parameter now: unix seconds.
    /// - Returns: `nil` if only ``verify(_:now:)`` can tell.
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

    /// The principal of a token, remembered or found out: up to some 100 us of computing where this is called, so an event loop
    /// asks ``cached(_:now:)`` first and calls this elsewhere.
    ///
    /// - Parameter now: unix seconds.
    /// - Throws: `token_expired` for a token that was good once, else `token_invalid`.
    public func verify(_ token: String, now: Int64) async throws(AccessError) -> Principal {
        if let principal = self.cached(token, now: now) { return principal }
        let (keys, generation) = self.state.withLock { ($0.keys, $0.generation) }
        let parts = try TokenParts(token, maximumBytes: self.configuration.maximumTokenBytes)
        let header = try TokenHeader(parts.header)
        try keys.check(parts, header: header)
        let principal = try self.rules.principal(of: parts.payload, now: now)
        self.state.withLock { state in
            if state.generation == generation { state.cache.insert(principal, for: token) }
        }
        return principal
    }

    /// Reads the keys again, for a rotation without a restart. What is remembered goes, since its key may have.
    ///
    /// - Throws: what ``init(_:)`` throws; the keys before stay in use.
    public func reload() async throws(AccessConfigurationError) {
        let keys = try await TokenKeys.load(self.configuration)
        self.state.withLock { state in
            state.keys = keys
            state.cache.removeAll()
            state.generation += 1
        }
    }

    /// How many tokens are remembered, for a metric.
    public var cachedCount: Int { self.state.withLock { $0.cache.count } }

    private static func validate(_ configuration: AccessConfiguration) throws(AccessConfigurationError) {
        guard (0...60).contains(configuration.leewaySeconds) else {
            throw AccessConfigurationError(
                "FLOWHUB_JWT_LEEWAY",
                "\(configuration.leewaySeconds) s is out of range",
                remedy: "Take 0 to 60 seconds; let the machines keep their clocks by NTP."
            )
        }
        guard configuration.maximumTokenBytes > 0, configuration.cacheSize >= 0 else {
            throw AccessConfigurationError(
                "FLOWHUB_JWT_MAX_BYTES, FLOWHUB_JWT_CACHE",
                "a limit is negative",
                remedy: "Take 1 or more bytes a token and 0 or more remembered tokens."
            )
        }
        if let audience = configuration.audience, audience.isEmpty {
            throw AccessConfigurationError(
                "FLOWHUB_JWT_AUDIENCE",
                "it is set and empty",
                remedy: "Write what the issuer puts into aud, or leave the setting out."
            )
        }
    }
}
