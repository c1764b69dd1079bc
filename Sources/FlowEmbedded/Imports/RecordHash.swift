import FlowCore

/// A hash of a record's text that is equal in all processes: FNV-1a, followed by the finalizer of SplitMix64. The
/// finalizer spreads each change over all bits, because a row digest adds up the hashes.
enum RecordHash {
    /// The hash of the text's UTF-8 bytes.
    static func of(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { bytes in
            var hash: UInt64 = 0xcbf2_9ce4_8422_2325
            for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
            hash = (hash ^ (hash >> 30)) &* 0xbf58_476d_1ce4_e5b9
            hash = (hash ^ (hash >> 27)) &* 0x94d0_49bb_1331_11eb
            return hash ^ (hash >> 31)
        }
    }
}
