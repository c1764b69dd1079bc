import FlowCore

/// A flow as watched by the streams of one account.
struct AccountFlow: Hashable, Sendable {
    var flow: FlowID
    var account: String

    /// The field of the hash `hub:flows:{instance}` with the number of the account's streams. Neither part contains a space.
    var field: String { "\(self.flow) \(self.account)" }
}

/// The registry entries of this instance's streams. A value type.
struct LocalConnections {
    private var flows: [FlowID: [ConnectionID: ConnectionEntry]] = [:]
    /// Number of entries of each flow and account.
    private var counts: [AccountFlow: Int] = [:]
    /// For each stream its account, and the number of flows for which it has an entry.
    private var owners: [ConnectionID: (account: String, flows: Int)] = [:]

    /// Adds an entry, or replaces the one of the same stream and flow.
    /// - Returns: whether the entry is new.
    mutating func insert(_ entry: ConnectionEntry) -> Bool {
        guard self.flows[entry.flow, default: [:]].updateValue(entry, forKey: entry.connection) == nil else { return false }
        self.owners[entry.connection, default: (entry.account, 0)].flows += 1
        self.counts[AccountFlow(flow: entry.flow, account: entry.account), default: 0] += 1
        return true
    }

    /// Removes the entry of the same stream and flow.
    /// - Returns: whether there was such an entry.
    mutating func remove(_ entry: ConnectionEntry) -> Bool {
        guard let removed = self.flows[entry.flow]?.removeValue(forKey: entry.connection) else { return false }
        let key = AccountFlow(flow: entry.flow, account: removed.account)
        self.counts[key, default: 0] -= 1
        if self.counts[key] == 0 { self.counts[key] = nil }
        if self.flows[entry.flow]?.isEmpty == true { self.flows[entry.flow] = nil }
        self.owners[entry.connection]?.flows -= 1
        if self.owners[entry.connection]?.flows == 0 { self.owners[entry.connection] = nil }
        return true
    }

    /// The entries of a flow, one per stream.
    func entries(of flow: FlowID) -> [ConnectionEntry] { Array((self.flows[flow] ?? [:]).values) }
    /// The number of this instance's streams that watch a flow.
    func count(of flow: FlowID) -> Int { self.flows[flow]?.count ?? 0 }
    /// The number of this instance's streams of an account that watch a flow.
    func count(of key: AccountFlow) -> Int { self.counts[key] ?? 0 }
    /// The account of a stream; `nil` if the stream has no entry here.
    func account(of connection: ConnectionID) -> String? { self.owners[connection]?.account }
    /// One stream of each flow.
    var samples: [(flow: FlowID, connection: ConnectionID)] {
        self.flows.compactMap { flow, entries in entries.keys.first.map { (flow: flow, connection: $0) } }
    }
    /// All entries, of all flows.
    var all: [ConnectionEntry] { self.flows.values.flatMap(\.values) }
}
