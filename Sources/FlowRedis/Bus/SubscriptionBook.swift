import FlowCore

/// What an instance is subscribed to, wants to be, and may soon not be any more. A value; no connection and no clock.
struct SubscriptionBook: ~Copyable {
    /// How long a flow stays subscribed after its last watcher: whoever reconnects finds it so.
    static let lingerMilliseconds: Int64 = 10_000

    private struct Entry {
        var isConfirmed = false
        /// When nobody wanted it any more, in milliseconds.
        var leftAt: Int64?
    }

    enum Wanted: Hashable {
        /// Ask the server for it.
        case ask
        /// It is there already.
        case confirmed
        /// It was asked for, or will be when there is a connection.
        case pending
    }

    private var flows: [FlowID: Entry] = [:]
    private var unconfirmed = 0
    private var isConnected = false

    /// Whether the server has confirmed everything that was asked for.
    var isComplete: Bool { self.isConnected && self.unconfirmed == 0 }

    var count: Int { self.flows.count }

    mutating func want(_ flow: FlowID) -> Wanted {
        if let entry = self.flows[flow] {
            self.flows[flow]?.leftAt = nil
            return entry.isConfirmed ? .confirmed : .pending
        }
        self.flows[flow] = Entry()
        self.unconfirmed += 1
        return self.isConnected ? .ask : .pending
    }

    mutating func leave(_ flow: FlowID, at now: Int64) { self.flows[flow]?.leftAt = now }

    /// - Returns: whether somebody waits for it.
    mutating func confirm(_ flow: FlowID) -> Bool {
        guard let entry = self.flows[flow], !entry.isConfirmed else { return false }
        self.flows[flow]?.isConfirmed = true
        self.unconfirmed -= 1
        return entry.leftAt == nil
    }

    /// - Returns: what to ask for, all of it.
    mutating func connected() -> [FlowID] {
        self.isConnected = true
        self.flows = self.flows.filter { $0.value.leftAt == nil }
        self.unconfirmed = self.flows.count
        for flow in self.flows.keys { self.flows[flow]?.isConfirmed = false }
        return Array(self.flows.keys)
    }

    mutating func lost() {
        self.isConnected = false
        self.unconfirmed = self.flows.count
        for flow in self.flows.keys { self.flows[flow]?.isConfirmed = false }
    }

    /// - Returns: what to give up: nobody has wanted it for a while. Asking for it later asks anew.
    mutating func giveUp(at now: Int64) -> [FlowID] {
        let left = self.flows.filter { $0.value.isConfirmed && now - ($0.value.leftAt ?? now) >= Self.lingerMilliseconds }.map(
            \.key)
        for flow in left { self.flows[flow] = nil }
        return left
    }
}
