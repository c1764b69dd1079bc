/// The members of one object, accessible by decoded name. If a name repeats, only its last member is included.
struct JSONObjectIndex {
    struct Entry {
        /// Range of the name as written, including its quotes.
        let key: Range<Int>
        let value: JSONOutline.Value
        /// The name, decoded.
        let name: ArraySlice<UInt8>
    }

    /// The members in the order of the text.
    private(set) var entries: [Entry] = []

    /// Number of names, and of bytes in all of them, up to which a linear search is faster than hashing.
    private static let fewNames = 8
    private static let fewBytes = 256

    /// Index in ``entries`` of each name; empty if the names are searched linearly.
    private var positions: [ArraySlice<UInt8>: Int] = [:]

    /// Indexes an object. Any other value has no members.
    init(of object: JSONOutline.Value, in outline: JSONOutline) {
        var all: [Entry] = []
        var bytes = 0
        for member in outline.members(of: object) {
            let name = JSONStringDecoding.decoded(outline.bytes, member.key)
            bytes += name.count
            all.append(Entry(key: member.key, value: member.value, name: name))
        }
        if all.count <= Self.fewNames, bytes <= Self.fewBytes {
            for (index, entry) in all.enumerated() where !all[(index + 1)...].contains(where: { $0.name == entry.name }) {
                self.entries.append(entry)
            }
        } else {
            for (index, entry) in all.enumerated() { self.positions[entry.name] = index }
            if self.positions.count == all.count {
                self.entries = all
            } else {
                self.entries = all.enumerated().filter { self.positions[$1.name] == $0 }.map(\.element)
                for (index, entry) in self.entries.enumerated() { self.positions[entry.name] = index }
            }
        }
    }

    /// The index in ``entries`` of a decoded name; `nil` if the object has no such member.
    func position(of name: ArraySlice<UInt8>) -> Int? {
        self.positions.isEmpty ? self.entries.firstIndex { $0.name == name } : self.positions[name]
    }
}
