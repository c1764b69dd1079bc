/// Everything that a subscriber saw, over all of its connections.
public struct StreamLog: Sendable {
    public enum Ending: Sendable {
        case byServer
        case byClient
        case failed(String)
    }

    public struct Connection: Sendable {
        /// What it said about where it stopped; empty for nothing.
        public var cursor: String
        public var status: Int?
        public var headers: [(name: String, value: String)] = []
        public var ending: Ending?
        public var bytes = 0
        public var comments = 0
        /// Where its blocks begin in ``StreamLog/blocks``.
        public var firstBlock: Int
        public let startedAt = ContinuousClock.now
        public var ended: ContinuousClock.Instant?

        public func header(_ name: String) -> String? {
            self.headers.first { $0.name.lowercased() == name.lowercased() }?.value
        }
    }

    public var connections: [Connection] = []
    /// Of all connections, in order.
    public var blocks: [EventBlock] = []
    /// What a browser would send when it comes back.
    public var lastEventID = ""

    public init() {}

    public var isConnected: Bool { self.connections.last.map { $0.ending == nil } ?? false }
    public var status: Int? { self.connections.last?.status }

    public func blocks(ofConnection number: Int) -> ArraySlice<EventBlock> {
        let end = number + 1 < self.connections.count ? self.connections[number + 1].firstBlock : self.blocks.count
        return self.blocks[self.connections[number].firstBlock..<end]
    }

    /// Those of the present connection.
    public var newest: ArraySlice<EventBlock> {
        self.connections.isEmpty ? [] : self.blocks(ofConnection: self.connections.count - 1)
    }

    public func events(_ name: String) -> [EventBlock] { self.blocks.filter { $0.event == name && $0.data != nil } }
}
