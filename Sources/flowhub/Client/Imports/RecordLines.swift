import Foundation

/// Reads the document of an import as it comes, in chunks of any size: `[`, one record a line with a comma behind it but the
/// last, `]`. What comes out is each record with a line feed behind it: NDJSON, and what the content hash is taken over.
struct RecordLines {
    /// The document is not laid out like this.
    struct Malformed: Error, Hashable {
        /// Counted from 1.
        let line: Int
    }

    private enum ParseState: Hashable {
        /// Before the opening bracket, and behind it.
        case start
        case opened
        /// At the start of a line. `expectsRecord`: there was a comma, so another record must come.
        case line(expectsRecord: Bool)
        /// In a record. `afterComma`: a comma was held back, as it may be the one that ends the line.
        case record(afterComma: Bool)
        /// Behind the closing bracket, and behind its line feed.
        case closed
        case end
    }

    private static let lineFeed = UInt8(ascii: "\n")
    private static let comma = UInt8(ascii: ",")

    private(set) var records = 0
    private var place = ParseState.start

    init() {}

    /// - Parameter output: what came to its end is put behind what it holds.
    mutating func feed(_ chunk: UnsafeRawBufferPointer, into output: inout [UInt8]) throws(Malformed) {
        var rest = chunk[...]
        while let byte = rest.first {
            switch (self.place, byte) {
            case (.start, UInt8(ascii: "[")): self.place = .opened
            case (.opened, Self.lineFeed): self.place = .line(expectsRecord: false)
            // Behind the last record the line has no comma, so only the bracket may follow.
            case (.opened, UInt8(ascii: "]")), (.line(expectsRecord: false), UInt8(ascii: "]")): self.place = .closed
            case (.closed, Self.lineFeed): self.place = .end
            case (.line(let expectsRecord), _):
                let mayBegin = byte != Self.lineFeed && byte != Self.comma && byte != UInt8(ascii: "]")
                guard mayBegin, expectsRecord || self.records == 0 else { throw Malformed(line: self.records + 2) }
                self.place = .record(afterComma: false)
                continue
            case (.record(let afterComma), _):
                rest = self.takeRecord(rest, afterComma: afterComma, into: &output)
                continue
            case (.start, _), (.opened, _): throw Malformed(line: 1)
            case (.closed, _): throw Malformed(line: self.records + 2)
            case (.end, _): throw Malformed(line: self.records + 3)
            }
            rest = rest.dropFirst()
        }
    }

    /// The document ends here.
    func finish() throws(Malformed) {
        guard self.place == .closed || self.place == .end else { throw Malformed(line: self.records + 2) }
    }

    /// - Returns: what is behind the line, if it ends in this chunk.
    private mutating func takeRecord(
        _ bytes: Slice<UnsafeRawBufferPointer>, afterComma: Bool, into output: inout [UInt8]
    ) -> Slice<UnsafeRawBufferPointer> {
        let end = Self.indexOfLineFeed(bytes) ?? bytes.endIndex
        let isComplete = end < bytes.endIndex
        var text = bytes[bytes.startIndex..<end]
        if afterComma, !text.isEmpty { output.append(Self.comma) }
        var holdsComma = afterComma && text.isEmpty
        if text.last == Self.comma {
            holdsComma = true
            text = text.dropLast()
        }
        output.append(contentsOf: text)
        guard isComplete else {
            self.place = .record(afterComma: holdsComma)
            return bytes[end...]
        }
        output.append(Self.lineFeed)
        self.records += 1
        self.place = .line(expectsRecord: holdsComma)
        return bytes[(end + 1)...]
    }

    private static func indexOfLineFeed(_ bytes: Slice<UnsafeRawBufferPointer>) -> Int? {
        let part = UnsafeRawBufferPointer(rebasing: bytes)
        guard let base = part.baseAddress, let found = memchr(base, Int32(Self.lineFeed), part.count) else { return nil }
        return bytes.startIndex + (UnsafeRawPointer(found) - base)
    }
}
