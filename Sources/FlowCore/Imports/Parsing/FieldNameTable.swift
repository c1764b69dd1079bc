/// Finds a field by its name as it is written, in a few steps, whatever the names are.
///
/// A table that looks at no more than ``probes`` places: names that do not fit in are left to the caller, so nobody can choose names
/// that make it slow.
struct FieldNameTable: Sendable {
    /// A name in a text, and what can be told of it at once.
    struct Key: Sendable {
        let range: Range<Int>
        /// Its first and its last eight bytes; of a shorter name both are all of it, the rest zero.
        let head: UInt64
        let tail: UInt64

        @inline(__always)
        init(_ range: Range<Int>, in text: Span<UInt8>) {
            self.range = range
            let bytes = text.bytes
            if range.count >= 8 {
                self.head = bytes.unsafeLoadUnaligned(fromByteOffset: range.lowerBound, as: UInt64.self)
                self.tail = bytes.unsafeLoadUnaligned(fromByteOffset: range.upperBound - 8, as: UInt64.self)
            } else {
                self.head = Self.short(range, in: text)
                self.tail = self.head
            }
        }

        @inline(__always)
        private static func short(_ range: Range<Int>, in text: Span<UInt8>) -> UInt64 {
            // The bytes behind it are cut off again, where there are enough of them.
            if range.lowerBound + 8 <= text.count {
                let word = text.bytes.unsafeLoadUnaligned(fromByteOffset: range.lowerBound, as: UInt64.self)
                return UInt64(littleEndian: word) & (1 &<< UInt64(truncatingIfNeeded: 8 &* range.count) &- 1)
            }
            return range.reversed().reduce(0) { $0 << 8 | UInt64(text[$1]) }
        }

        @inline(__always)
        var slot: Int {
            let mixed =
                (self.head ^ self.tail &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(truncatingIfNeeded: self.range.count))
                &* 0xBF58_476D_1CE4_E5B9
            return Int(truncatingIfNeeded: mixed >> 54)
        }
    }

    private struct Entry: Sendable {
        let head: UInt64
        let tail: UInt64
        let count: Int
        /// Where in ``FieldNameTable/bytes`` the name is.
        let start: Int
        let field: Int
    }

    private static let probes = 4
    private static let slots = 1 << 10

    private var entries: [Entry] = []
    /// Indices in ``entries``; -1 where there is none.
    private var table = [Int16](repeating: -1, count: Self.slots)
    private var bytes: [UInt8] = []

    /// The field with a name that is written like this.
    @inline(__always)
    func index(of key: Key, in text: Span<UInt8>) -> Int? {
        let slot = key.slot
        for probe in 0..<Self.probes {
            let index = Int(self.table[(slot + probe) & (Self.slots - 1)])
            guard index >= 0 else { return nil }
            let entry = self.entries[index]
            // One branch for all three, as it is nearly always taken.
            let difference =
                (entry.head ^ key.head) | (entry.tail ^ key.tail) | UInt64(truncatingIfNeeded: entry.count ^ key.range.count)
            if difference == 0, key.range.count <= 16 || self.isSpelled(entry, key.range, in: text) { return entry.field }
        }
        return nil
    }

    @inline(never)
    private func isSpelled(_ entry: Entry, _ range: Range<Int>, in text: Span<UInt8>) -> Bool {
        for offset in 8..<range.count - 8 where self.bytes[entry.start + offset] != text[range.lowerBound + offset] {
            return false
        }
        return true
    }

    /// Enters a name, if there is room for it.
    mutating func add(_ key: Key, _ spelling: ArraySlice<UInt8>, _ field: Int) {
        for probe in 0..<Self.probes {
            let slot = (key.slot + probe) & (Self.slots - 1)
            guard self.table[slot] < 0 else { continue }
            self.table[slot] = Int16(self.entries.count)
            self.entries.append(
                Entry(head: key.head, tail: key.tail, count: spelling.count, start: self.bytes.count, field: field))
            self.bytes += spelling
            return
        }
    }
}
