import FlowCore

/// The connections of this instance. A value type.
struct LocalConnections {
    private var flows: [FlowID: [ConnectionID: ConnectionEntry]] = [:]
    private var owners: [ConnectionID: (account: String, flows: Int)] = [:]

    /// - Returns: whether the entry is new.
    mutating func insert(_ entry: ConnectionEntry) -> Bool {
        guard self.flows[entry.flow, default: [:]].updateValue(entry, forKey: entry.connection) == nil else { return false }
        self.owners[entry.connection, default: (entry.account, 0)].flows += 1
        return true
    }

    /// - Returns: whether there was such an entry.
    mutating func remove(_ entry: ConnectionEntry) -> Bool {
        guard self.flows[entry.flow]?.removeValue(forKey: entry.connection) != nil else { return false }
        if self.flows[entry.flow]?.isEmpty == true { self.flows[entry.flow] = nil }
        self.owners[entry.connection]?.flows -= 1
        if self.owners[entry.connection]?.flows == 0 { self.owners[entry.connection] = nil }
        return true
    }

    func entries(of flow: FlowID) -> [ConnectionEntry] { Array((self.flows[flow] ?? [:]).values) }
    func count(of flow: FlowID) -> Int { self.flows[flow]?.count ?? 0 }
    func account(of connection: ConnectionID) -> String? { self.owners[connection]?.account }
    var all: [ConnectionEntry] { self.flows.values.flatMap(\.values) }
}
