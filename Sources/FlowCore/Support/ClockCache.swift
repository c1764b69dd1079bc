/// A map with an upper bound that lets go of what was not asked for lately: the clock algorithm, the next thing to "least
/// recently used" that needs no list to be kept in order.
///
/// Inlinable, so that each use in another module is compiled for its own types.
///
/// A value, confined to whatever lock its owner keeps it under. Lookups, insertions and evictions take constant time on
/// average.
package struct ClockCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline
    struct Slot: Sendable {
        @usableFromInline var key: Key
        @usableFromInline var value: Value
        @usableFromInline var cost: Int
        /// Asked for since the hand passed by.
        @usableFromInline var isRecent: Bool

        @inlinable
        init(key: Key, value: Value, cost: Int) {
            self.key = key
            self.value = value
            self.cost = cost
            self.isRecent = true
        }
    }

    /// Entries and summed cost that are kept at most.
    package let maximumEntries: Int
    package let maximumCost: Int

    @usableFromInline var index: [Key: Int] = [:]
    @usableFromInline var slots: [Slot] = []
    @usableFromInline var hand = 0
    package var cost = 0

    @inlinable
    package init(maximumEntries: Int, maximumCost: Int) {
        self.maximumEntries = max(1, maximumEntries)
        self.maximumCost = maximumCost
    }

    @inlinable
    package var count: Int { self.slots.count }

    /// Counts as no question for any of them.
    @inlinable
    package func forEach(_ body: (Key, Value) -> Void) {
        for slot in self.slots { body(slot.key, slot.value) }
    }

    /// The value, which is kept longer for having been asked for.
    @inlinable
    package mutating func value(for key: Key) -> Value? {
        guard let position = self.index[key] else { return nil }
        if !self.slots[position].isRecent { self.slots[position].isRecent = true }
        return self.slots[position].value
    }

    /// Keeps the value, unless it alone costs more than all may; then the key is empty afterwards.
    /// - Returns: what had to go for it, the value itself included if it could not be kept.
    @inlinable
    @discardableResult
    package mutating func set(_ value: Value, for key: Key, cost: Int) -> [(key: Key, value: Value)] {
        if let position = self.index[key] {
            self.cost += cost - self.slots[position].cost
            self.slots[position].value = value
            self.slots[position].cost = cost
            self.slots[position].isRecent = true
        } else {
            self.index[key] = self.slots.count
            self.slots.append(Slot(key: key, value: value, cost: cost))
            self.cost += cost
        }
        var evicted: [(key: Key, value: Value)] = []
        if cost > self.maximumCost, let lost = self.removeValue(for: key) { evicted.append((key, lost)) }
        while self.slots.count > self.maximumEntries || self.cost > self.maximumCost {
            evicted.append(self.evict(sparing: key))
        }
        return evicted
    }

    /// Changes a value in place, a new one if there is none, and then keeps to the bounds.
    @inlinable
    package mutating func update(_ key: Key, default makeValue: @autoclosure () -> Value, _ body: (inout Value) -> Int) {
        let position: Int
        if let existing = self.index[key] {
            position = existing
        } else {
            position = self.slots.count
            self.index[key] = position
            self.slots.append(Slot(key: key, value: makeValue(), cost: 0))
        }
        let cost = body(&self.slots[position].value)
        self.cost += cost - self.slots[position].cost
        self.slots[position].cost = cost
        self.slots[position].isRecent = true
        if cost > self.maximumCost { self.removeValue(for: key) }
        while self.slots.count > self.maximumEntries || self.cost > self.maximumCost { _ = self.evict(sparing: key) }
    }

    @inlinable
    @discardableResult
    package mutating func removeValue(for key: Key) -> Value? {
        guard let position = self.index[key] else { return nil }
        return self.remove(at: position).value
    }

    @inlinable
    package mutating func removeAll() {
        self.index = [:]
        self.slots = []
        self.hand = 0
        self.cost = 0
    }

    /// Called only with at least two entries or one that is not `key`, since one entry that costs too much is gone before.
    @inlinable
    mutating func evict(sparing key: Key) -> (key: Key, value: Value) {
        while true {
            if self.hand >= self.slots.count { self.hand = 0 }
            if self.slots[self.hand].isRecent || self.slots[self.hand].key == key {
                self.slots[self.hand].isRecent = false
                self.hand += 1
            } else {
                return self.remove(at: self.hand)
            }
        }
    }

    /// The last slot takes the place of the removed one, so that there are no gaps.
    @inlinable
    mutating func remove(at position: Int) -> (key: Key, value: Value) {
        let removed = self.slots[position]
        let last = self.slots.removeLast()
        if position < self.slots.count {
            self.slots[position] = last
            self.index[last.key] = position
        }
        self.index[removed.key] = nil
        self.cost -= removed.cost
        return (removed.key, removed.value)
    }
}
