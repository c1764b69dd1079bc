/// A hash table of field names as written, with a bounded number of steps per lookup.
///
/// A lookup examines at most ``probes`` slots. A name for which none of them is free is not stored; the caller must
/// find it elsewhere. So a client cannot choose names that make lookups slow.
struct FieldNameTable: Sendable {
    /// A name in a text, with the bytes that are compared first.
    struct Key: Sendable {
        let range: Range<Int>
        /// The first and the last eight bytes of the name. If it is shorter, both are the whole name, padded with
        /// zeros.
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

        /// A name of less than eight bytes as one word, padded with zeros.
        @inline(__always)
        private static func short(_ range: Range<Int>, in text: Span<UInt8>) -> UInt64 {
            // If eight bytes can be loaded, those after the name are masked out.
            if range.lowerBound + 8 <= text.count {
                let word = text.bytes.unsafeLoadUnaligned(fromByteOffset: range.lowerBound, as: UInt64.self)
                return UInt64(littleEndian: word) & (1 &<< UInt64(truncatingIfNeeded: 8 &* range.count) &- 1)
            }
            return range.reversed().reduce(0) { $0 << 8 | UInt64(text[$1]) }
        }

        /// The first slot that a lookup of the name examines.
        @inline(__always)
        var bucket: Int {
            let mixed =
                (self.head ^ self.tail &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(truncatingIfNeeded: self.range.count))
                &* 0xBF58_476D_1CE4_E5B9
            return Int(truncatingIfNeeded: mixed >> 54)
        }
    }

    /// A stored name and the number of its field.
    private struct Entry: Sendable {
        /// The first and the last eight bytes of the name, as in ``Key``.
        let head: UInt64
        let tail: UInt64
        /// Length of the name in bytes.
        let count: Int
        /// Start of the name in ``FieldNameTable/bytes``.
        let start: Int
        /// The number that was passed to `add`.
        let field: Int
    }

    /// Maximum number of slots that a lookup examines.
    private static let probes = 4
    /// Number of slots of the table.
    private static let bucketCount = 1 << 10

    private var entries: [Entry] = []
    /// Indices in ``entries``; -1 if a slot is empty.
    private var table = [Int16](repeating: -1, count: Self.bucketCount)
    /// The stored names, one after the other.
    private var bytes: [UInt8] = []

    /// The number of the field whose name is written like this; `nil` if the name is not in the table.
    @inline(__always)
    func index(of key: Key, in text: Span<UInt8>) -> Int? {
        let bucket = key.bucket
        for probe in 0..<Self.probes {
            let index = Int(self.table[(bucket + probe) & (Self.bucketCount - 1)])
            guard index >= 0 else { return nil }
            let entry = self.entries[index]
            // One branch for all three comparisons, because they nearly always have the same result.
            let difference =
                (entry.head ^ key.head) | (entry.tail ^ key.tail) | UInt64(truncatingIfNeeded: entry.count ^ key.range.count)
            if difference == 0, key.range.count <= 16 || self.isSpelled(entry, key.range, in: text) { return entry.field }
        }
        return nil
    }

    /// Whether the names also agree in the bytes between the first and the last eight.
    @inline(never)
    private func isSpelled(_ entry: Entry, _ range: Range<Int>, in text: Span<UInt8>) -> Bool {
        for offset in 8..<range.count - 8 where self.bytes[entry.start + offset] != text[range.lowerBound + offset] {
            return false
        }
        return true
    }

    /// Adds a name if a slot is free for it.
    /// - Parameters:
    ///   - spelling: the name as written, without quotes.
    ///   - field: the number that lookups of the name return.
    mutating func add(_ key: Key, _ spelling: ArraySlice<UInt8>, _ field: Int) {
        for probe in 0..<Self.probes {
            let bucket = (key.bucket + probe) & (Self.bucketCount - 1)
            guard self.table[bucket] < 0 else { continue }
            self.table[bucket] = Int16(self.entries.count)
            self.entries.append(
                Entry(head: key.head, tail: key.tail, count: spelling.count, start: self.bytes.count, field: field))
            self.bytes += spelling
            return
        }
    }
}
