/// Splits a section of a document that starts and ends at line boundaries into its records.
enum DocumentLines {
    /// Finds the records by their lines.
    /// - Returns: the range of each record, without the brackets and commas of the document. These cannot be
    ///   mistaken for records: a record is never only a bracket or a comma, and never ends with a comma.
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
