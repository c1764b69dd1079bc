import FlowCore

/// What an instance is subscribed to, wants to be, and may soon not be any more. A value; no connection and no clock.
struct SubscriptionTracker: ~Copyable {
    /// How long a flow stays subscribed after its last watcher: whoever reconnects finds it so.
    static let lingerMilliseconds: Int64 = 10_000

    private struct Entry {
        var isConfirmed = false
        /// When nobody wanted it any more, in milliseconds.
        var unsubscribedAt: Int64?
    }

    enum SubscribeAction: Hashable {
        /// Ask the server for it.
        case sendSubscribe
        /// It is there already.
        case confirmed
        /// It was asked for, or will be when there is a connection.
        case pending
    }

    private var flows: [FlowID: Entry] = [:]
    /// Of what was asked for when the connection came: what is not confirmed yet.
    private var initial: Set<FlowID> = []
    private(set) var isConnected = false

    /// Whether the server has confirmed everything that was wanted when the connection came.
    var isComplete: Bool { self.isConnected && self.initial.isEmpty }

    var count: Int { self.flows.count }

    mutating func subscribe(_ flow: FlowID) -> SubscribeAction {
        if let entry = self.flows[flow] {
            self.flows[flow]?.unsubscribedAt = nil
            return entry.isConfirmed ? .confirmed : .pending
        }
        self.flows[flow] = Entry()
        return self.isConnected ? .sendSubscribe : .pending
    }

    mutating func unsubscribe(_ flow: FlowID, at now: Int64) { self.flows[flow]?.unsubscribedAt = now }

    /// - Returns: whether somebody waits for it.
    mutating func confirm(_ flow: FlowID) -> Bool {
        self.initial.remove(flow)
        guard let entry = self.flows[flow], !entry.isConfirmed else { return false }
        self.flows[flow]?.isConfirmed = true
        return entry.unsubscribedAt == nil
    }

    /// - Returns: what to ask for, all of it.
    mutating func connected() -> [FlowID] {
        self.isConnected = true
        self.flows = self.flows.filter { $0.value.unsubscribedAt == nil }
        self.initial = Set(self.flows.keys)
        for flow in self.flows.keys { self.flows[flow]?.isConfirmed = false }
        return Array(self.flows.keys)
    }

    mutating func lost() {
        self.isConnected = false
        self.initial = []
        for flow in self.flows.keys { self.flows[flow]?.isConfirmed = false }
    }

    /// - Returns: what to give up: nobody has wanted it for a while. Asking for it later asks anew.
    mutating func removeExpired(at now: Int64) -> [FlowID] {
        let expired = self.flows.filter { _, entry in
            // Its confirmation may be on its way as long as there is a connection.
            (entry.isConfirmed || !self.isConnected) && now - (entry.unsubscribedAt ?? now) >= Self.lingerMilliseconds
        }.map(\.key)
        for flow in expired { self.flows[flow] = nil }
        return expired
    }
}
