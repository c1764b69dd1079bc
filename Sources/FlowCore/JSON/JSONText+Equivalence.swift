extension JSONText {
    /// Whether both texts have the same meaning: members in any order, only the last of repeated members, strings by
    /// their decoded bytes, numbers as written. `1` differs from `1.0`, because parsers that keep decimals
    /// distinguish them.
    public func isEquivalent(to other: JSONText) -> Bool {
        self.bytes == other.bytes || JSONEquivalence(left: self.bytes, right: other.bytes).areEquivalent(left: 0, right: 0)
    }
}

/// One comparison of two texts. It recurses once per level, and the depth of texts is limited.
private struct JSONEquivalence {
    let left: [UInt8]
    let right: [UInt8]

    /// Whether the values at these indices of both texts are equivalent.
    func areEquivalent(left leftStart: Int, right rightStart: Int) -> Bool {
        guard leftStart < self.left.count, rightStart < self.right.count else { return false }
        let first = self.left[leftStart]
        guard first == self.right[rightStart] else { return false }
        switch first {
        case UInt8(ascii: "{"):
            return self.areObjectsEquivalent(leftStart, rightStart)
        case UInt8(ascii: "["):
            return self.areArraysEquivalent(leftStart, rightStart)
        default:
            let leftRange = leftStart..<JSONWalk.endOfValue(in: self.left.span, from: leftStart)
            let rightRange = rightStart..<JSONWalk.endOfValue(in: self.right.span, from: rightStart)
            if self.left[leftRange] == self.right[rightRange] { return true }
            guard first == JSONByte.quote else { return false }
            return JSONStringDecoding.decoded(self.left, leftRange) == JSONStringDecoding.decoded(self.right, rightRange)
        }
    }

    /// Whether the objects at these indices have the same names with equivalent values.
    private func areObjectsEquivalent(_ leftStart: Int, _ rightStart: Int) -> Bool {
        let leftIndex = JSONObjectIndex(in: self.left, at: leftStart)
        let rightIndex = JSONObjectIndex(in: self.right, at: rightStart)
        guard leftIndex.entries.count == rightIndex.entries.count else { return false }
        return leftIndex.entries.allSatisfy { entry in
            guard let position = rightIndex.position(of: entry.name) else { return false }
            return self.areEquivalent(left: entry.value.lowerBound, right: rightIndex.entries[position].value.lowerBound)
        }
    }

    /// Whether the arrays at these indices have equivalent elements in the same order.
    private func areArraysEquivalent(_ leftStart: Int, _ rightStart: Int) -> Bool {
        var leftElements = JSONElementRanges(in: self.left, at: leftStart)
        var rightElements = JSONElementRanges(in: self.right, at: rightStart)
        while true {
            switch (leftElements.next(), rightElements.next()) {
            case (nil, nil): return true
            case (let left?, let right?):
                guard self.areEquivalent(left: left.lowerBound, right: right.lowerBound) else { return false }
            default: return false
            }
        }
    }
}
