extension JSONText {
    /// The bytes without one leading byte order mark in UTF-8, which programs on Windows write before JSON. RFC 8259, 8.1, lets a
    /// parser pass over it.
    public static func withoutByteOrderMark(_ bytes: [UInt8]) -> [UInt8] {
        bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
    }
}
