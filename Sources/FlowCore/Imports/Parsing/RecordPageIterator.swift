/// The records of any document, page by page, whatever its white space. Used by one task.
public final class RecordPageIterator {
    /// Bytes of a page.
    private static let pageBytes = 1_048_576

    private let document: ImportDocument
    private var reader: RecordReader
    private var piece: [UInt8] = []
    private var position = 0
    private var hasBegun = false
    /// Whether the page that was handed out is the last one.
    private(set) var isComplete = false

    public init(_ document: ImportDocument, limits: ImportLimits) {
        self.document = document
        self.reader = RecordReader(format: .json, limits: limits)
    }

    /// Of all records so far.
    var summary: FieldSummary { self.reader.summary }

    /// - Returns: `nil` at the end.
    public func next() async throws(ImportError) -> RecordPage? {
        if self.isComplete { return nil }
        var page = RecordPage(continuing: self.hasBegun, capacity: Self.pageBytes)
        self.hasBegun = true
        while !self.isComplete {
            if self.position == self.piece.count {
                self.piece = try await self.document.next() ?? []
                self.position = 0
                self.isComplete = self.piece.isEmpty
            }
            let piece = self.piece
            do throws(ImportInputError) {
                if self.isComplete {
                    try self.reader.finish(into: &page)
                } else {
                    self.position = try self.reader.read(
                        piece.span, from: self.position, into: &page, target: Self.pageBytes)
                }
            } catch {
                throw .damaged("What is stored cannot be read: \(error)")
            }
            if self.position < piece.count || page.isFull(Self.pageBytes) { break }
        }
        return page
    }
}
