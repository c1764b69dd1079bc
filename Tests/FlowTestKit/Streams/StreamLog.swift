/// Everything that a subscriber received, over all its connections.
public struct StreamLog: Sendable {
    public enum Ending: Sendable {
        case byServer
        case byClient
        case failed(String)
    }

    public struct Connection: Sendable {
        /// The cursor that the client sent; empty if none.
        public var cursor: String
        /// The cursor that the client sent for each flow that has its own.
        public var cursors: [String: String] = [:]
        public var status: Int?
        public var headers: [(name: String, value: String)] = []
        public var ending: Ending?
        public var bytes = 0
        public var comments = 0
        /// Index of its first block in ``StreamLog/blocks``.
        public var firstBlock: Int
        public let startedAt = ContinuousClock.now
        public var ended: ContinuousClock.Instant?

        public func header(_ name: String) -> String? {
            self.headers.first { $0.name.lowercased() == name.lowercased() }?.value
        }
    }

    public var connections: [Connection] = []
    /// Blocks of all connections, in the order of receipt.
    public var blocks: [EventBlock] = []
    /// The cursor that a browser would send when it reconnects.
    public var lastEventID = ""
    /// The last id of each flow, of a target whose flows have their own.
    public var cursors: [String: String] = [:]

    public init() {}

    public var isConnected: Bool { self.connections.last.map { $0.ending == nil } ?? false }
    public var status: Int? { self.connections.last?.status }

    public func blocks(ofConnection number: Int) -> ArraySlice<EventBlock> {
        let end = number + 1 < self.connections.count ? self.connections[number + 1].firstBlock : self.blocks.count
        return self.blocks[self.connections[number].firstBlock..<end]
    }

    /// Blocks of the newest connection.
    public var newest: ArraySlice<EventBlock> {
        self.connections.isEmpty ? [] : self.blocks(ofConnection: self.connections.count - 1)
    }

    public func events(_ name: String) -> [EventBlock] { self.blocks.filter { $0.event == name && $0.data != nil } }
}
