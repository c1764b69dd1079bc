/// Parses a stored document and returns its records page by page. Other white space than the hub writes is accepted,
/// and removed. Used by one task.
public final class RecordPageIterator {
    /// Target size of a page in bytes.
    private static let pageBytes = 1_048_576

    private let document: ImportDocument
    private var reader: RecordReader
    /// The document's chunk that is being parsed.
    private var chunk: [UInt8] = []
    /// Index in the chunk of the next byte to parse.
    private var position = 0
    /// Whether a page was returned.
    private var hasBegun = false
    /// Whether the document has ended, so that the page that was returned most recently is the final one.
    private(set) var isComplete = false

    public init(_ document: ImportDocument, limits: ImportLimits) {
        self.document = document
        self.reader = RecordReader(format: .json, limits: limits)
    }

    /// Counts of the fields of all records returned so far.
    var summary: FieldSummary { self.reader.summary }

    /// The next page of records; `nil` after the final one, which may have no records.
    /// - Throws: ``ImportError/damaged(_:)`` if the document is not valid, besides the errors of
    ///   ``ImportDocument/next()``.
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
                throw .damaged("The import's stored records cannot be parsed: \(error)")
            }
            if self.position < chunk.count || page.isFull(Self.pageBytes) { break }
        }
        return page
    }
}
