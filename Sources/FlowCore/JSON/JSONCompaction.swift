/// Removes the white space between tokens from a validated document.
enum JSONCompaction {
    /// The document without white space between its tokens.
    /// - Parameter whiteSpace: number of bytes to remove, so that the result is allocated once and at its exact size.
    static func compacted(_ bytes: [UInt8], removing whiteSpace: Int) -> [UInt8] {
        let input = bytes.span
        var output = [UInt8](repeating: 0, count: bytes.count - whiteSpace)
        var mutable = output.mutableSpan
        var written = 0
        var isInString = false
        var index = 0
        while index < input.count {
            let byte = input[index]
            index += 1
            if isInString {
                mutable[written] = byte
                written += 1
                if byte == JSONByte.quote {
                    isInString = false
                } else if byte == JSONByte.backslash {
                    // The byte after a backslash is copied here, because it may be a quote that does not end the string.
                    // A valid string has a byte after each backslash.
                    mutable[written] = input[index]
                    written += 1
                    index += 1
                }
            } else if !JSONByte.isWhiteSpace(byte) {
                mutable[written] = byte
                written += 1
                isInString = byte == JSONByte.quote
            }
        }
        return output
    }
}
