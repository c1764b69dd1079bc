/// Who is connected where, over all instances.
public protocol ConnectionRegistry: Sendable {
    func register(_ entries: [ConnectionEntry]) async
    func unregister(_ entries: [ConnectionEntry]) async
    /// Every living connection of a flow.
    func connections(of flow: FlowID) async -> [ConnectionEntry]
    /// How many watch a flow. May lag behind ``connections(of:)`` by a second.
    func count(of flow: FlowID) -> Int
    /// Asks the instance that holds the connection to end it.
    /// - Returns: whether there is such a connection that the caller may see.
    func disconnect(_ connection: ConnectionID, account: String?) async -> Bool
    /// Where requests to end a connection of this instance go.
    func attach(_ disconnect: @escaping @Sendable (ConnectionID) -> Void)
}

/// `<instance>.<n>`
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    public let instance: String
    public let number: UInt64

    public init(instance: String, number: UInt64) {
        self.instance = instance
        self.number = number
    }

    public init?(_ text: some StringProtocol) {
        guard let dot = text.lastIndex(of: "."), let number = UInt64(text[text.index(after: dot)...]),
            Identifier.isValid(text[..<dot].utf8, maximumLength: 64)
        else { return nil }
        self.instance = String(text[..<dot])
        self.number = number
    }

    public var description: String { "\(self.instance).\(self.number)" }
}

/// One flow on one connection. A connection with several flows has an entry in each.
public struct ConnectionEntry: Hashable, Sendable {
    public var connection: ConnectionID
    public var flow: FlowID
    public var account: String
    public var subject: String
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
