extension JSONText {
    /// The text after applying a JSON Merge Patch (RFC 7396).
    ///
    /// Members that the patch does not name stay byte for byte. A replaced value stays at the position of the old
    /// one. New members follow the old ones in the patch's order. `null` removes a member, and objects are merged
    /// into objects. A patch that is not an object replaces the whole text. If a name of the patch occurs several times in
    /// the patch or in this text, only its last member counts.
    ///
    /// The result is nested no deeper than the deeper of both texts, and is no longer than both together.
    public func applying(mergePatch patch: JSONText) -> JSONText {
        guard patch.isObject else { return patch }
        var merge = JSONMergePatch(target: self.bytes, patch: patch.bytes)
        merge.mergeObjects(target: 0, patch: 0)
        return JSONText(unchecked: merge.output)
    }
}

/// One application of a merge patch (RFC 7396), directly on the texts. It recurses once per level of the patch, whose depth is
/// limited.
private struct JSONMergePatch {
    let target: [UInt8]
    let patch: [UInt8]
    var output: [UInt8] = []

    init(target: [UInt8], patch: [UInt8]) {
        self.target = target
        self.patch = patch
        self.output.reserveCapacity(target.count + patch.count)
    }

    /// Writes the object that results from merging the patch's object into the target's value.
    ///
    /// - Parameters:
    ///   - target: start of the target's value; `nil` if there is none. A value that is not an object counts as `{}`.
    mutating func mergeObjects(target targetStart: Int?, patch patchStart: Int) {
        let patched = JSONObjectIndex(in: self.patch, at: patchStart)
        let members = self.targetMembers(at: targetStart, patched)
        self.output.append(UInt8(ascii: "{"))
        let start = self.output.count

        // For each member of the patch, the member of the target that it changes: the last one with its name.
        var last = [Int?](repeating: nil, count: patched.entries.count)
        for (index, member) in members.enumerated() {
            if let position = member.patch { last[position] = index }
        }
        for (index, member) in members.enumerated() {
            guard let position = member.patch else {
                self.separate(from: start)
                self.output.append(contentsOf: self.target[member.range])
                continue
            }
            guard last[position] == index else { continue }
            self.write(patched.entries[position], key: self.target[member.key], replacing: member.value, from: start)
        }
        for (position, entry) in patched.entries.enumerated() where last[position] == nil {
            self.write(entry, key: self.patch[entry.key], replacing: nil, from: start)
        }
        self.output.append(UInt8(ascii: "}"))
    }

    /// A member of the target, or a run of neighboring members that the patch does not name and that are copied
    /// together.
    private struct TargetMembers {
        /// Range of the member or run in the target.
        var range: Range<Int>
        /// Range of the first member's name, including its quotes.
        let key: Range<Int>
        /// Start of the first member's value.
        let value: Int
        /// Index in the patch's entries of the member with the same name; `nil` if the patch does not name it.
        let patch: Int?
    }

    /// The members of the target's object at `start`; empty if there is no object. Neighboring members that the patch
    /// does not name are combined.
    private func targetMembers(at start: Int?, _ patched: JSONObjectIndex) -> [TargetMembers] {
        guard let start else { return [] }
        var members: [TargetMembers] = []
        for member in JSONMemberRanges(in: self.target, at: start) {
            let range = member.key.lowerBound..<member.value.upperBound
            let position = patched.position(of: JSONStringDecoding.decoded(self.target, member.key))
            if position == nil, let previous = members.last, previous.patch == nil {
                members[members.count - 1].range = previous.range.lowerBound..<range.upperBound
            } else {
                let value = member.value.lowerBound
                members.append(TargetMembers(range: range, key: member.key, value: value, patch: position))
            }
        }
        return members
    }

    /// Writes the new version of one member that the patch names; writes nothing if the patch's value is `null`.
    /// - Parameters:
    ///   - key: the name as written, with its quotes.
    ///   - old: start of the target's value; `nil` if the target has no such member.
    ///   - start: see ``separate(from:)``.
    private mutating func write(_ entry: JSONObjectIndex.Entry, key: ArraySlice<UInt8>, replacing old: Int?, from start: Int) {
        let value = entry.value.lowerBound
        let first = self.patch[value]
        guard first != UInt8(ascii: "n") else { return }
        self.separate(from: start)
        self.output.append(contentsOf: key)
        self.output.append(UInt8(ascii: ":"))
        if first == UInt8(ascii: "{") {
            self.mergeObjects(target: old, patch: value)
        } else {
            self.output.append(contentsOf: self.patch[entry.value])
        }
    }

    /// Writes a comma, unless the next member is the first one of its object.
    /// - Parameter start: length of the output after the object's `{`.
    private mutating func separate(from start: Int) {
        if self.output.count > start { self.output.append(UInt8(ascii: ",")) }
    }
}
