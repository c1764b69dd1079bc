extension JSONText {
    /// The lines of NDJSON that are not empty, without their `\n` or `\r\n`. The lines are not validated.
    public static func splitLines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        let span = bytes.span
        var start = 0
        while start < span.count {
            var end = start
            while end < span.count, span[end] != UInt8(ascii: "\n") { end += 1 }
            let next = end + 1
            if end > start, span[end - 1] == UInt8(ascii: "\r") { end -= 1 }
            if end > start { lines.append(bytes[start..<end]) }
            start = next
        }
        return lines
    }
}
