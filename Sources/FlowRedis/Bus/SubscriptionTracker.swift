import FlowCore

/// State machine of an instance's subscriptions to the Redis channels of flows: requested, confirmed, and kept for 10 s
/// after the flow's watch has ended. A value type without I/O; times are parameters, in milliseconds.
struct SubscriptionTracker: ~Copyable {
    /// Milliseconds that a flow stays subscribed after its watch has ended, so that a client that reconnects soon finds the
    /// subscription in place.
    static let lingerMilliseconds: Int64 = 10_000

    private struct Entry {
        var isConfirmed = false
        /// When the flow's watch ended, in milliseconds; `nil` while the flow is watched.
        var unsubscribedAt: Int64?
    }

    enum SubscribeAction: Hashable {
        /// Send SUBSCRIBE.
        case sendSubscribe
        /// The server has already confirmed the subscription.
        case confirmed
        /// The confirmation is outstanding: SUBSCRIBE was sent, or is sent once a connection is ready.
        case pending
    }

    private var flows: [FlowID: Entry] = [:]
    /// Flows that were watched when the connection became ready, and whose subscription is not confirmed yet.
    private var initial: Set<FlowID> = []
    private(set) var isConnected = false

    /// Whether the server has confirmed all subscriptions that were requested when the connection became ready.
    var isComplete: Bool { self.isConnected && self.initial.isEmpty }

    /// Number of flows that are watched or were watched less than ``lingerMilliseconds`` ago.
    var count: Int { self.flows.count }

    /// Records that a flow is watched.
    /// - Returns: what the caller must do.
    mutating func subscribe(_ flow: FlowID) -> SubscribeAction {
        if let entry = self.flows[flow] {
            self.flows[flow]?.unsubscribedAt = nil
            return entry.isConfirmed ? .confirmed : .pending
        }
        self.flows[flow] = Entry()
        return self.isConnected ? .sendSubscribe : .pending
    }

    /// Records that a flow's watch has ended. The flow stays subscribed until ``removeExpired(at:)`` returns it.
    mutating func unsubscribe(_ flow: FlowID, at now: Int64) { self.flows[flow]?.unsubscribedAt = now }

    /// Records the server's confirmation of a subscription.
    /// - Returns: whether this is the first confirmation and the flow is still watched.
    mutating func confirm(_ flow: FlowID) -> Bool {
        self.initial.remove(flow)
        guard let entry = self.flows[flow], !entry.isConfirmed else { return false }
        self.flows[flow]?.isConfirmed = true
        return entry.unsubscribedAt == nil
    }

    /// Records that the connection is ready.
    /// - Returns: all watched flows, for which SUBSCRIBE must be sent.
    mutating func connected() -> [FlowID] {
        self.isConnected = true
        self.flows = self.flows.filter { $0.value.unsubscribedAt == nil }
        self.initial = Set(self.flows.keys)
        for flow in self.flows.keys { self.flows[flow]?.isConfirmed = false }
        return Array(self.flows.keys)
    }

    /// Records that the connection was lost, and all confirmed subscriptions with it.
    mutating func lost() {
        self.isConnected = false
        self.initial = []
        for flow in self.flows.keys { self.flows[flow]?.isConfirmed = false }
    }

    /// Removes the flows whose watch ended at least ``lingerMilliseconds`` ago.
    /// - Returns: the removed flows, for which UNSUBSCRIBE must be sent.
    mutating func removeExpired(at now: Int64) -> [FlowID] {
        let expired = self.flows.filter { _, entry in
            // While connected, an unconfirmed flow stays: its confirmation may be in flight.
            (entry.isConfirmed || !self.isConnected) && now - (entry.unsubscribedAt ?? now) >= Self.lingerMilliseconds
        }.map(\.key)
        for flow in expired { self.flows[flow] = nil }
        return expired
    }
}
