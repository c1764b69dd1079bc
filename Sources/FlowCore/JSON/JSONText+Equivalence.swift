extension JSONText {
    /// Whether both texts have the same meaning: members in any order, only the last of repeated members, strings by
    /// their decoded bytes, numbers as written. `1` differs from `1.0`, because parsers that keep decimals
    /// distinguish them. Takes time in proportion to the texts' lengths.
    public func isEquivalent(to other: JSONText) -> Bool {
        if self.bytes == other.bytes { return true }
        let comparison = JSONEquivalence(
            left: JSONOutline(self.bytes, descends: true), right: JSONOutline(other.bytes, descends: true))
        return comparison.areEquivalent(comparison.left.root, comparison.right.root)
    }
}

/// One comparison of two texts. It recurses once per level, and the depth of texts is limited. Each value is compared at most
/// once.
struct JSONEquivalence {
    let left: JSONOutline
    let right: JSONOutline

    /// Whether a value of the left text and one of the right text are equivalent.
    func areEquivalent(_ leftValue: JSONOutline.Value, _ rightValue: JSONOutline.Value) -> Bool {
        let first = self.left.first(of: leftValue)
        guard first == self.right.first(of: rightValue) else { return false }
        switch first {
        case UInt8(ascii: "{"):
            return self.areObjectsEquivalent(leftValue, rightValue)
        case UInt8(ascii: "["):
            return self.areArraysEquivalent(leftValue, rightValue)
        default:
            if self.left.bytes[leftValue.range] == self.right.bytes[rightValue.range] { return true }
            guard first == JSONByte.quote else { return false }
            return JSONStringDecoding.decoded(self.left.bytes, leftValue.range)
                == JSONStringDecoding.decoded(self.right.bytes, rightValue.range)
        }
    }

    /// Whether the objects have the same names with equivalent values.
    private func areObjectsEquivalent(_ leftObject: JSONOutline.Value, _ rightObject: JSONOutline.Value) -> Bool {
        let leftMembers = Array(self.left.members(of: leftObject))
        let rightMembers = Array(self.right.members(of: rightObject))
        // The usual case needs no hashing: the same names, written alike, in the same order.
        let haveSameNames =
            leftMembers.count == rightMembers.count
            && zip(leftMembers, rightMembers).allSatisfy { self.left.bytes[$0.key] == self.right.bytes[$1.key] }
        if haveSameNames { return self.areValuesEquivalent(leftMembers, rightMembers) }
        let leftIndex = JSONObjectIndex(of: leftObject, in: self.left)
        let rightIndex = JSONObjectIndex(of: rightObject, in: self.right)
        guard leftIndex.entries.count == rightIndex.entries.count else { return false }
        return leftIndex.entries.allSatisfy { entry in
            guard let position = rightIndex.position(of: entry.name) else { return false }
            return self.areEquivalent(entry.value, rightIndex.entries[position].value)
        }
    }

    /// Whether members with the same names in the same order have equivalent values. Only the last member of a name counts.
    private func areValuesEquivalent(_ leftMembers: [JSONOutline.Member], _ rightMembers: [JSONOutline.Member]) -> Bool {
        /// The index of the last member of each name; filled when two values differ.
        var last: [ArraySlice<UInt8>: Int] = [:]
        for (index, (left, right)) in zip(leftMembers, rightMembers).enumerated()
        where !self.areEquivalent(left.value, right.value) {
            if last.isEmpty {
                for (index, member) in leftMembers.enumerated() {
                    last[JSONStringDecoding.decoded(self.left.bytes, member.key)] = index
                }
            }
            if last[JSONStringDecoding.decoded(self.left.bytes, left.key)] == index { return false }
        }
        return true
    }

    /// Whether the arrays have equivalent elements in the same order.
    private func areArraysEquivalent(_ leftArray: JSONOutline.Value, _ rightArray: JSONOutline.Value) -> Bool {
        var leftElements = self.left.elements(of: leftArray)
        var rightElements = self.right.elements(of: rightArray)
        while true {
            switch (leftElements.next(), rightElements.next()) {
            case (nil, nil): return true
            case (let left?, let right?):
                guard self.areEquivalent(left, right) else { return false }
            default: return false
            }
        }
    }
}
