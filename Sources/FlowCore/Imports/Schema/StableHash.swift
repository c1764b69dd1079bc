/// A hash that is the same in every process, so that estimates based on it are reproducible. It has no secret key: do
/// not use it for hash tables that clients fill.
enum StableHash {
    /// The hash of the bytes. Different seeds give independent hashes.
    static func hash(_ bytes: ArraySlice<UInt8>, seed: UInt64) -> UInt64 {
        let span = bytes.span
        let raw = span.bytes
        // Seed and length are mixed before the text: else two texts that differ in the same bits as two seeds would have
        // the same hash.
        var hash = Self.mixed(seed &+ UInt64(truncatingIfNeeded: span.count) &* 0x9E37_79B9_7F4A_7C15)
        var index = 0
        while index + 8 <= span.count {
            hash = Self.mixed(hash ^ raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
            index += 8
        }
        var rest: UInt64 = 0
        while index < span.count {
            rest = rest << 8 | UInt64(span[index])
            index += 1
        }
        return Self.mixed(Self.mixed(hash ^ rest))
    }

    /// The finalizer of SplitMix64: each bit of the input changes each bit of the result with probability 1/2.
    private static func mixed(_ word: UInt64) -> UInt64 {
        var word = word &+ 0x9E37_79B9_7F4A_7C15
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}
