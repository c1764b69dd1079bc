import FlowCore
import NIOCore

/// The subscriptions of accounts that do not own the flow.
///
/// For them the flow does not exist, whether it was created before or after they subscribed. They are on a second fan-out, the
/// *absent view*, which is open at version 0 without a head, as the fan-out of a flow that does not exist. It receives no durable
/// events. It is part of the flow's fan-out, so that the flow stays watched: its id may become free, and then belong to one of
/// these accounts.
extension FlowFanout {
    /// The fan-out for subscriptions of an account: this one, or its absent view if another account owns the flow.
    func fanout(for account: String) -> FlowFanout {
        guard let owner = self.account, owner != account else { return self }
        return self.openAbsentView()
    }

    /// The absent view, created if there is none.
    private func openAbsentView() -> FlowFanout {
        if let absentView = self.absentView { return absentView }
        let view = FlowFanout(flow: self.flow, epoch: self.epoch, shard: self.shard, isAbsentView: true)
        view.opened(nil, head: nil, epoch: self.epoch, last: [])
        self.absentView = view
        return view
    }

    /// Moves a subscription of another account to the absent view. It was possible while the flow did not exist and so had no
    /// owner, and was sent nothing but the version 0.
    func moveToAbsentView(_ subscription: Subscription) {
        let view = self.openAbsentView()
        self.leave(subscription)
        subscription.move(to: view)
        view.join(subscription)
        if subscription.reader.isLive {
            view.addLive(subscription)
        } else {
            // The load in flight, if there is one, belongs to this fan-out. Its result is not sent.
            subscription.loadFailed()
        }
    }

    /// Moves the subscriptions of all accounts but the owner to the absent view.
    func moveOtherAccountsToAbsentView() {
        guard let owner = self.account else { return }
        var moved: [Subscription] = []
        self.forEachSubscription { subscription in
            guard subscription.stream.principal.account != owner else { return }
            self.moveToAbsentView(subscription)
            moved.append(subscription)
        }
        for subscription in moved { subscription.stream.advanceReaders() }
    }

    /// Moves the subscriptions of the absent view back, because the flow has no known owner any more. The caller resets the
    /// readers.
    func dissolveAbsentView() {
        guard let view = self.absentView else { return }
        self.absentView = nil
        view.forEachSubscription { subscription in
            view.leave(subscription)
            subscription.move(to: self)
            self.join(subscription)
            subscription.readerMayAdvance()
        }
    }

    /// Closes the streams of the absent view whose account owns the flow now. Their clients reconnect and are sent the flow.
    func closeAbsentViewOfOwner() {
        guard let owner = self.account else { return }
        self.absentView?.forEachSubscription { subscription in
            guard subscription.stream.principal.account == owner else { return }
            subscription.stream.close(.unavailable, retryMilliseconds: self.shard.jitteredRetry())
        }
    }

    // MARK: Presence

    /// Sends `presence` to the subscribers that want it, if the number of streams of their account has changed since their
    /// last `presence`.
    func sendPresence() {
        self.absentView?.sendPresence()
        guard self.presence.count > 0, self.isOpen else { return }
        var counts: [String: Int] = [:]
        if let owner = self.account {
            counts[owner] = self.subscriberCount
        } else {
            self.forEachSubscription { counts[$0.stream.principal.account, default: 0] += 1 }
        }
        // The registry is updated later than the fan-out, so it may lack subscribers that this event loop already has.
        for (account, count) in counts {
            counts[account] = max(count, self.shard.services.registry.count(of: self.flow, account: account))
        }
        let changed = self.presence.changes(to: counts)
        guard !changed.isEmpty else { return }
        let events = changed.mapValues { ControlEvent.presence(self.flow, count: $0).encoded() }
        self.forEachSubscription { subscription in
            guard subscription.stream.wantsPresence, let event = events[subscription.stream.principal.account] else { return }
            subscription.stream.sendPresence(event)
        }
    }
}

/// The `presence` events of a fan-out.
struct PresenceState {
    /// Number of subscriptions on streams that want `presence` events.
    private(set) var count = 0
    /// The number in the `presence` event that was sent most recently, by account.
    private var lastSent: [String: Int] = [:]

    /// Counts a new subscriber. It was not sent `presence` yet, so the next tick sends it.
    mutating func joined() {
        self.count += 1
        self.lastSent = [:]
    }

    mutating func left() { self.count -= 1 }

    /// The numbers that differ from those that were sent last. They count as sent.
    mutating func changes(to counts: [String: Int]) -> [String: Int] {
        defer { self.lastSent = counts }
        return counts.filter { self.lastSent[$0.key] != $0.value }
    }
}
