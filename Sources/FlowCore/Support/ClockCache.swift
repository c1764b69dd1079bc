/// A bounded dictionary that evicts entries which were not used recently, by the CLOCK algorithm. CLOCK approximates LRU
/// without keeping a list in order of use.
///
/// A value type, which the owner protects with its lock. Lookups, insertions and evictions take constant time on average.
/// Inlinable, so that other modules specialize it for their types.
package struct ClockCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline
    struct Slot: Sendable {
        @usableFromInline var key: Key
        @usableFromInline var value: Value
        /// The cost that was passed with the value, such as its size in bytes.
        @usableFromInline var cost: Int
        /// Whether the entry was used since ``ClockCache/hand`` last passed it.
        @usableFromInline var isRecent: Bool

        @inlinable
        init(key: Key, value: Value, cost: Int) {
            self.key = key
            self.value = value
            self.cost = cost
            self.isRecent = true
        }
    }

    /// Maximum number of entries.
    package let maximumEntries: Int
    /// Maximum total cost of the entries.
    package let maximumCost: Int

    /// The index in `slots` of each key's entry.
    @usableFromInline var index: [Key: Int] = [:]
    @usableFromInline var slots: [Slot] = []
    /// Index of the slot that is examined next for eviction.
    @usableFromInline var hand = 0
    /// Total cost of the entries.
    package var cost = 0

    @inlinable
    package init(maximumEntries: Int, maximumCost: Int) {
        self.maximumEntries = max(1, maximumEntries)
        self.maximumCost = maximumCost
    }

    @inlinable
    package var count: Int { self.slots.count }

    /// Visits all entries, without marking them as used.
    @inlinable
    package func forEach(_ body: (Key, Value) -> Void) {
        for slot in self.slots { body(slot.key, slot.value) }
    }

    /// Returns the value for a key and marks the entry as used; `nil` if the key has no entry.
    @inlinable
    package mutating func value(for key: Key) -> Value? {
        guard let position = self.index[key] else { return nil }
        if !self.slots[position].isRecent { self.slots[position].isRecent = true }
        return self.slots[position].value
    }

    /// Changes the value for a key in place, without marking the entry as used. Its cost must stay the same.
    /// - Returns: the result of `body`; `nil` if the key has no entry.
    @inlinable
    package mutating func modify<Result>(_ key: Key, _ body: (inout Value) -> Result) -> Result? {
        guard let position = self.index[key] else { return nil }
        return body(&self.slots[position].value)
    }

    /// Sets the value for a key and evicts entries until the limits are met. A value that costs more than ``maximumCost`` is
    /// not kept; the key then has no entry.
    /// - Returns: the evicted entries, including the value itself if it was not kept.
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

    /// Changes the value for a key in place, or inserts a changed default value if the key has no entry, and evicts
    /// entries until the limits are met.
    /// - Parameter body: changes the value and returns its new cost.
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

    /// Removes the entry of a key.
    /// - Returns: its value; `nil` if there was no entry.
    @inlinable
    @discardableResult
    package mutating func removeValue(for key: Key) -> Value? {
        guard let position = self.index[key] else { return nil }
        return self.remove(at: position).value
    }

    /// Removes all entries.
    @inlinable
    package mutating func removeAll() {
        self.index = [:]
        self.slots = []
        self.hand = 0
        self.cost = 0
    }

    /// Evicts an entry of another key than `key`.
    /// - Returns: `false` if there is none.
    @inlinable
    package mutating func evictAny(except key: Key) -> Bool {
        guard self.slots.count > (self.index[key] == nil ? 0 : 1) else { return false }
        _ = self.evict(sparing: key)
        return true
    }

    /// Evicts the first entry at or after ``hand`` that was not used recently and is not the entry of `key`.
    ///
    /// Requires at least one entry of another key, or the search would not end. The callers ensure this: if the entry of
    /// `key` alone exceeds the cost limit, they remove it first.
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

    /// Removes a slot. The last slot moves to its index, so that the array has no gaps.
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
