/// The live subscriptions of a fan-out, and the pass over them: one round in which each is sent what it was not sent yet.
struct LiveSlots {
    /// `nil` for a slot that is free.
    private var slots: [Subscription?] = []
    /// Indices of the free slots.
    private var free: [Int] = []
    /// Index of the slot that the pass visits next.
    private var next = 0
    /// Number of slots that the pass has not visited yet; 0 without a pass.
    private(set) var leftInPass = 0

    /// Whether no subscription is live.
    var isEmpty: Bool { self.slots.count == self.free.count }

    /// The lowest live log position of the subscriptions; `nil` without any.
    var lowestPosition: Int? { self.slots.lazy.compactMap { $0?.position }.min() }

    /// Assigns a slot to a subscription.
    mutating func insert(_ subscription: Subscription) {
        if let slot = self.free.popLast() {
            self.slots[slot] = subscription
            subscription.liveSlot = slot
        } else {
            subscription.liveSlot = self.slots.count
            self.slots.append(subscription)
            // A running pass also visits the new slot. Otherwise the pass would end one slot early, before the last subscriber
            // was sent the events.
            if self.leftInPass > 0 { self.leftInPass += 1 }
        }
    }

    /// Frees the slot of a subscription; does nothing if it has none. The slot stays in the list: the other slots keep their
    /// indices, so that a running pass visits each.
    mutating func remove(_ subscription: Subscription) {
        guard subscription.liveSlot >= 0 else { return }
        self.slots[subscription.liveSlot] = nil
        self.free.append(subscription.liveSlot)
        subscription.liveSlot = -1
    }

    /// Starts a pass over all slots. A running pass starts anew where it is.
    mutating func startPass() { self.leftInPass = self.slots.count }

    /// Ends the pass before it has visited all slots.
    mutating func endPass() { self.leftInPass = 0 }

    /// Advances the pass by one slot. There must be slots left in the pass.
    /// - Returns: the subscription of the slot; `nil` if it is free.
    mutating func advancePass() -> Subscription? {
        if self.next >= self.slots.count { self.next = 0 }
        defer { self.next += 1 }
        self.leftInPass -= 1
        return self.slots[self.next]
    }
}
