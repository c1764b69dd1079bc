import FlowCore

/// The registry entries of this instance's streams. A value type.
struct LocalConnections {
    private var flows: [FlowID: [ConnectionID: ConnectionEntry]] = [:]
    /// For each stream its account, and the number of flows for which it has an entry.
    private var owners: [ConnectionID: (account: String, flows: Int)] = [:]

    /// Adds an entry, or replaces the one of the same stream and flow.
    /// - Returns: whether the entry is new.
    mutating func insert(_ entry: ConnectionEntry) -> Bool {
        guard self.flows[entry.flow, default: [:]].updateValue(entry, forKey: entry.connection) == nil else { return false }
        self.owners[entry.connection, default: (entry.account, 0)].flows += 1
        return true
    }

    /// Removes the entry of the same stream and flow.
    /// - Returns: whether there was such an entry.
    mutating func remove(_ entry: ConnectionEntry) -> Bool {
        guard self.flows[entry.flow]?.removeValue(forKey: entry.connection) != nil else { return false }
        if self.flows[entry.flow]?.isEmpty == true { self.flows[entry.flow] = nil }
        self.owners[entry.connection]?.flows -= 1
        if self.owners[entry.connection]?.flows == 0 { self.owners[entry.connection] = nil }
        return true
    }

    /// The entries of a flow, one per stream.
    func entries(of flow: FlowID) -> [ConnectionEntry] { Array((self.flows[flow] ?? [:]).values) }
    /// The number of this instance's streams that watch a flow.
    func count(of flow: FlowID) -> Int { self.flows[flow]?.count ?? 0 }
    /// The account of a stream; `nil` if the stream has no entry here.
    func account(of connection: ConnectionID) -> String? { self.owners[connection]?.account }
    /// All entries, of all flows.
    var all: [ConnectionEntry] { self.flows.values.flatMap(\.values) }
}
