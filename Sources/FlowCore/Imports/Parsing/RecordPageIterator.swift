/// Iterates over the records of a document page by page, whatever its white space is. Used by one task.
public final class RecordPageIterator {
    /// Target size of a page in bytes.
    private static let pageBytes = 1_048_576

    private let document: ImportDocument
    private var reader: RecordReader
    private var chunk: [UInt8] = []
    private var position = 0
    private var hasBegun = false
    /// Whether the last page was returned.
    private(set) var isComplete = false

    public init(_ document: ImportDocument, limits: ImportLimits) {
        self.document = document
        self.reader = RecordReader(format: .json, limits: limits)
    }

    /// Summary of the fields of all records so far.
    var summary: FieldSummary { self.reader.summary }

    /// The next page; `nil` at the end.
    public func next() async throws(ImportError) -> RecordPage? {
        if self.isComplete { return nil }
        var page = RecordPage(continuing: self.hasBegun, capacity: Self.pageBytes)
        self.hasBegun = true
        while !self.isComplete {
            if self.position == self.chunk.count {
                self.chunk = try await self.document.next() ?? []
                self.position = 0
                self.isComplete = self.chunk.isEmpty
            }
            let chunk = self.chunk
            do throws(ImportInputError) {
                if self.isComplete {
                    try self.reader.finish(into: &page)
                } else {
                    self.position = try self.reader.read(
                        chunk.span, from: self.position, into: &page, target: Self.pageBytes)
                }
            } catch {
                throw .damaged("The stored records cannot be parsed: \(error)")
            }
            if self.position < chunk.count || page.isFull(Self.pageBytes) { break }
        }
        return page
    }
}
