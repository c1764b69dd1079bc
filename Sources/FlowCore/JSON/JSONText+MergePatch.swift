extension JSONText {
    /// The text after applying a JSON Merge Patch (RFC 7396).
    ///
    /// Members that the patch does not name stay byte for byte. A replaced value stays at the position of the old
    /// one. New members follow the old ones in the patch's order. `null` removes a member, and objects are merged
    /// into objects. A patch that is not an object replaces the whole text. If a name of the patch occurs several times in
    /// the patch or in this text, only its last member counts.
    ///
    /// The result is nested no deeper than the deeper of both texts, and is no longer than both together.
    public func applying(mergePatch patch: JSONText) -> JSONText { self.merging(patch).text }

    /// The text after applying a merge patch, see ``applying(mergePatch:)``, and whether its meaning has changed: `false` if it
    /// is equivalent to this text. Takes time in proportion to the texts' lengths.
    func merging(_ patch: JSONText) -> (text: JSONText, isChanged: Bool) {
        guard patch.isObject else { return (patch, !patch.isEquivalent(to: self)) }
        var merge = JSONMergePatch(target: self.bytes, patch: patch.bytes)
        merge.mergeObjects(target: merge.target.root, patch: merge.patch.root)
        return (JSONText(unchecked: merge.output), merge.isChanged)
    }
}

/// One application of a merge patch (RFC 7396), directly on the texts. It recurses once per level of the patch, whose depth is
/// limited.
private struct JSONMergePatch {
    let target: JSONOutline
    let patch: JSONOutline
    var output: [UInt8] = []
    /// Whether the patch has changed the target's meaning so far.
    var isChanged = false

    init(target: [UInt8], patch: [UInt8]) {
        // Only a patch that has an object or array reads more than one level of the texts.
        let descends = patch.dropFirst().contains { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "[") }
        self.target = JSONOutline(target, descends: descends)
        self.patch = JSONOutline(patch, descends: descends)
        self.output.reserveCapacity(target.count + patch.count)
    }

    /// Writes the object that results from merging the patch's object into the target's value.
    ///
    /// - Parameters:
    ///   - target: the target's value; `nil` if there is none. A value that is not an object counts as `{}`.
    mutating func mergeObjects(target object: JSONOutline.Value?, patch patchObject: JSONOutline.Value) {
        if object.map({ self.target.first(of: $0) }) != UInt8(ascii: "{") { self.isChanged = true }
        let patched = JSONObjectIndex(of: patchObject, in: self.patch)
        let members = self.targetMembers(of: object, patched)
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
                self.output.append(contentsOf: self.target.bytes[member.range])
                continue
            }
            guard last[position] == index else { continue }
            self.write(patched.entries[position], key: self.target.bytes[member.key], replacing: member.value, from: start)
        }
        for (position, entry) in patched.entries.enumerated() where last[position] == nil {
            self.write(entry, key: self.patch.bytes[entry.key], replacing: nil, from: start)
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
        /// The first member's value.
        let value: JSONOutline.Value
        /// Index in the patch's entries of the member with the same name; `nil` if the patch does not name it.
        let patch: Int?
    }

    /// The members of the target's object; empty if there is no object. Neighboring members that the patch does not name are
    /// combined.
    private func targetMembers(of object: JSONOutline.Value?, _ patched: JSONObjectIndex) -> [TargetMembers] {
        guard let object else { return [] }
        var members: [TargetMembers] = []
        for member in self.target.members(of: object) {
            let range = member.key.lowerBound..<member.value.range.upperBound
            let position = patched.position(of: JSONStringDecoding.decoded(self.target.bytes, member.key))
            if position == nil, let previous = members.last, previous.patch == nil {
                members[members.count - 1].range = previous.range.lowerBound..<range.upperBound
            } else {
                members.append(TargetMembers(range: range, key: member.key, value: member.value, patch: position))
            }
        }
        return members
    }

    /// Writes the new version of one member that the patch names; writes nothing if the patch's value is `null`.
    /// - Parameters:
    ///   - key: the name as written, with its quotes.
    ///   - old: the target's value; `nil` if the target has no such member.
    ///   - start: see ``separate(from:)``.
    private mutating func write(
        _ entry: JSONObjectIndex.Entry, key: ArraySlice<UInt8>, replacing old: JSONOutline.Value?, from start: Int
    ) {
        let first = self.patch.first(of: entry.value)
        guard first != UInt8(ascii: "n") else {
            if old != nil { self.isChanged = true }
            return
        }
        self.separate(from: start)
        self.output.append(contentsOf: key)
        self.output.append(UInt8(ascii: ":"))
        if first == UInt8(ascii: "{") {
            self.mergeObjects(target: old, patch: entry.value)
        } else {
            self.output.append(contentsOf: self.patch.bytes[entry.value.range])
            // Once the meaning has changed, nothing needs to be compared any more.
            if !self.isChanged { self.isChanged = !self.isEquivalent(old, to: entry.value) }
        }
    }

    /// Whether the target's value has the same meaning as the patch's value.
    private func isEquivalent(_ old: JSONOutline.Value?, to new: JSONOutline.Value) -> Bool {
        guard let old else { return false }
        return JSONEquivalence(left: self.target, right: self.patch).areEquivalent(old, new)
    }

    /// Writes a comma, unless the next member is the first one of its object.
    /// - Parameter start: length of the output after the object's `{`.
    private mutating func separate(from start: Int) {
        if self.output.count > start { self.output.append(UInt8(ascii: ",")) }
    }
}
