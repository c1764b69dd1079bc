import Foundation

/// Incremental parser of an import's document, for chunks of any size: a line with `[`, one record per line followed by a comma
/// except the last, a line with `]`. Outputs each record followed by a line feed: NDJSON, and the input of the content hash.
struct RecordLines {
    /// The document does not have one record per line in an array.
    struct Malformed: Error, Hashable {
        /// Number of the line with the error, counted from 1.
        let line: Int
    }

    /// Where in the document the next byte is.
    private enum ParseState: Hashable {
        /// Before the opening bracket.
        case start
        /// After the opening bracket.
        case opened
        /// At the start of a line. `expectsRecord`: the previous line ended with a comma, so a record must follow.
        case line(expectsRecord: Bool)
        /// In a record. `afterComma`: the last byte was a comma and is not output yet, because it may end the line.
        case record(afterComma: Bool)
        /// After the closing bracket.
        case closed
        /// After the line feed that follows the closing bracket.
        case end
    }

    private static let lineFeed = UInt8(ascii: "\n")
    private static let comma = UInt8(ascii: ",")

    private(set) var records = 0
    private var state = ParseState.start

    init() {}

    /// Parses a chunk.
    /// - Parameter output: receives the bytes of records.
    /// - Throws: ``Malformed`` if the lines are not as ``RecordLines`` describes.
    mutating func feed(_ chunk: UnsafeRawBufferPointer, into output: inout [UInt8]) throws(Malformed) {
        var rest = chunk[...]
        while let byte = rest.first {
            switch (self.state, byte) {
            case (.start, UInt8(ascii: "[")): self.state = .opened
            case (.opened, Self.lineFeed): self.state = .line(expectsRecord: false)
            // No comma follows the previous record, so only the closing bracket may follow.
            case (.opened, UInt8(ascii: "]")), (.line(expectsRecord: false), UInt8(ascii: "]")): self.state = .closed
            case (.closed, Self.lineFeed): self.state = .end
            case (.line(let expectsRecord), _):
                let mayStart = byte != Self.lineFeed && byte != Self.comma && byte != UInt8(ascii: "]")
                guard mayStart, expectsRecord || self.records == 0 else { throw Malformed(line: self.records + 2) }
                self.state = .record(afterComma: false)
                continue
            case (.record(let afterComma), _):
                rest = self.consumeRecord(rest, afterComma: afterComma, into: &output)
                continue
            case (.start, _), (.opened, _): throw Malformed(line: 1)
            case (.closed, _): throw Malformed(line: self.records + 2)
            case (.end, _): throw Malformed(line: self.records + 3)
            }
            rest = rest.dropFirst()
        }
    }

    /// Checks at the end of the input that the document is complete.
    /// - Throws: ``Malformed`` if the closing bracket is missing.
    func finish() throws(Malformed) {
        guard self.state == .closed || self.state == .end else { throw Malformed(line: self.records + 2) }
    }

    /// Consumes bytes of the current record up to its line feed or the end of the chunk.
    /// - Returns: the rest of the chunk.
    private mutating func consumeRecord(
        _ bytes: Slice<UnsafeRawBufferPointer>, afterComma: Bool, into output: inout [UInt8]
    ) -> Slice<UnsafeRawBufferPointer> {
        let end = Self.indexOfLineFeed(bytes) ?? bytes.endIndex
        let isComplete = end < bytes.endIndex
        var text = bytes[bytes.startIndex..<end]
        if afterComma, !text.isEmpty { output.append(Self.comma) }
        var hasPendingComma = afterComma && text.isEmpty
        if text.last == Self.comma {
            hasPendingComma = true
            text = text.dropLast()
        }
        output.append(contentsOf: text)
        guard isComplete else {
            self.state = .record(afterComma: hasPendingComma)
            return bytes[end...]
        }
        output.append(Self.lineFeed)
        self.records += 1
        self.state = .line(expectsRecord: hasPendingComma)
        return bytes[(end + 1)...]
    }

    /// The index of the first line feed; `nil` if there is none.
    private static func indexOfLineFeed(_ bytes: Slice<UnsafeRawBufferPointer>) -> Int? {
        let part = UnsafeRawBufferPointer(rebasing: bytes)
        guard let base = part.baseAddress, let found = memchr(base, Int32(Self.lineFeed), part.count) else { return nil }
        return bytes.startIndex + (UnsafeRawPointer(found) - base)
    }
}
