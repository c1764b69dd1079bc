extension JSONText {
    /// The lines of NDJSON that are not empty, without their `\n` or `\r\n`. The lines are not validated.
    /// - Parameter limit: number of lines after which one more is found and the rest is not read.
    public static func splitLines(_ bytes: [UInt8], limit: Int = .max) -> [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        let span = bytes.span
        var start = 0
        while start < span.count, lines.count <= limit {
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
