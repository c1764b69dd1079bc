/// The records in a piece of a document that begins and ends between two lines.
enum DocumentLines {
    /// - Returns: where each record is. The brackets and the commas are none of it: a record is never a bracket or a comma alone,
    ///   and never ends with a comma.
    static func records(in text: [UInt8]) -> [Range<Int>] {
        var records: [Range<Int>] = []
        let span = text.span
        var start = 0
        while start < span.count {
            var end = start
            while end < span.count, span[end] != UInt8(ascii: "\n") { end += 1 }
            let next = end + 1
            if end > start, span[end - 1] == UInt8(ascii: ",") { end -= 1 }
            let isBracket = end - start == 1 && (span[start] == UInt8(ascii: "[") || span[start] == UInt8(ascii: "]"))
            if end > start, !isBracket { records.append(start..<end) }
            start = next
        }
        return records
    }
}
