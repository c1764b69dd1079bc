/// The reason that a `closing` event gives for the end of a stream or of one of its flows. Raw values are on the wire.
public enum ClosingReason: String, Hashable, Sendable, CaseIterable {
    /// The flow is terminal, and the time for late events (`FLOWHUB_LINGER_MS`) has passed.
    case finished
    /// The flow was deleted.
    case deleted
    /// The hub is shutting down.
    case drain
    /// A limit of streams or of queued bytes is reached, so the hub does not start the stream. Metrics also count a shed stream
    /// under this reason, although it is sent no `closing`.
    case full
    /// The hub cannot start or continue the stream now, in most cases because the store is unavailable.
    case unavailable
    /// The token has expired.
    case expired
    /// The token was revoked, an operator disconnected the stream, or the flow belongs to another account.
    case revoked

    /// The default of the event's member `reconnect`: whether the client should reconnect with the same token. It is
    /// `false` for a revoked or expired token, which the client would have to replace first.
    public var allowsReconnect: Bool {
        switch self {
        case .drain, .full, .unavailable: true
        case .finished, .deleted, .expired, .revoked: false
        }
    }
}
