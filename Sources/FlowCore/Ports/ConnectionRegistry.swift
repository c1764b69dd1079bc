/// The registry of streams: which stream watches which flow, over all instances.
///
/// Called from any thread. Registration is best effort: an implementation that shares its entries with other instances
/// writes them after the call has returned, and writes entries again that the shared registry has lost.
public protocol ConnectionRegistry: Sendable {
    /// Adds entries of this instance. An entry that is registered already is left as it is.
    func register(_ entries: [ConnectionEntry]) async
    /// Removes entries of this instance. Entries that are not registered are ignored.
    func unregister(_ entries: [ConnectionEntry]) async
    /// Every stream that watches the flow, over all instances whose liveness heartbeat has not expired.
    func connections(of flow: FlowID) async -> [ConnectionEntry]
    /// The streams that the legacy service has registered for the flow. Only the account that the legacy service's data belongs
    /// to gets them; any other none.
    func foreignConnections(of flow: FlowID, account: String) async -> [ForeignConnection]
    /// The number of streams of an account that watch the flow. May lag behind ``connections(of:)`` by about 1 s.
    func count(of flow: FlowID, account: String) -> Int
    /// Asks the instance that serves a stream to close it.
    /// - Parameter account: the account that the stream must belong to; `nil` for any.
    /// - Returns: whether the instance has confirmed that it serves such a stream and closes it.
    func disconnect(_ connection: ConnectionID, account: String?) async -> Bool
    /// Sets the callback that closes a stream of this instance. Called from any thread.
    func onDisconnectRequest(_ disconnect: @escaping @Sendable (ConnectionID) -> Void)
}

extension ConnectionRegistry {
    /// None: the default for a registry that the legacy service does not share.
    public func foreignConnections(of flow: FlowID, account: String) async -> [ForeignConnection] { [] }
}

/// A stream of the legacy service, as it has registered it. Nothing of it is verified.
public struct ForeignConnection: Hashable, Sendable {
    public var id: String
    /// When it was registered, in the form of ISO 8601 if the legacy service wrote it so; `nil` if it did not say.
    public var registeredAt: String?
    /// All other members of the entry: an object.
    public var metadata: JSONText

    public init(id: String, registeredAt: String?, metadata: JSONText) {
        self.id = id
        self.registeredAt = registeredAt
        self.metadata = metadata
    }
}

/// The identifier of a stream, over all instances: `<instance>.<number>`.
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    public let instance: String
    /// Distinguishes the streams of the instance.
    public let number: UInt64

    public init(instance: String, number: UInt64) {
        self.instance = instance
        self.number = number
    }

    /// - Returns: `nil` if the text is not an instance name and an unsigned number, separated by the last dot.
    public init?(_ text: some StringProtocol) {
        guard let dot = text.lastIndex(of: "."), let number = UInt64(text[text.index(after: dot)...]),
            Identifier.isValid(text[..<dot].utf8, maximumLength: 64)
        else { return nil }
        self.instance = String(text[..<dot])
        self.number = number
    }

    public var description: String { "\(self.instance).\(self.number)" }
}

/// One flow on one stream. A stream with several flows has one entry for each.
public struct ConnectionEntry: Hashable, Sendable {
    public var connection: ConnectionID
    public var flow: FlowID
    public var account: String
    /// The `sub` of the stream's token; empty on a hub without keys.
    public var subject: String
    /// The client's network address.
    public var remote: String
    public var registeredAt: Timestamp

    public init(
        connection: ConnectionID, flow: FlowID, account: String, subject: String, remote: String, registeredAt: Timestamp
    ) {
        self.connection = connection
        self.flow = flow
        self.account = account
        self.subject = subject
        self.remote = remote
        self.registeredAt = registeredAt
    }
}
