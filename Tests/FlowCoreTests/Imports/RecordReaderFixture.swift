import FlowCore

/// The result of reading a whole import.
struct RecordReaderFixture: Hashable {
    var pages: [[UInt8]] = []
    var records: [String] = []
    var summary = JSONText.emptyObject
    var error: ImportInputError?

    var document: String { String(decoding: self.pages.joined(), as: UTF8.self) }

    /// - Parameter cuts: indices at which the input is split into chunks, in ascending order.
    init(
        _ bytes: [UInt8], _ format: ImportFormat?, limits: ImportLimits = .init(), delimiter: UInt8? = nil, cuts: [Int] = [],
        target: Int = 1 << 20
    ) {
        var reader = RecordReader(format: format, limits: limits, delimiter: delimiter)
        var page = RecordPage(continuing: false, capacity: target)
        do throws(ImportInputError) {
            for (start, end) in zip([0] + cuts, cuts + [bytes.count]) {
                let piece = Array(bytes[start..<end])
                var position = 0
                while position < piece.count {
                    position = try reader.read(piece.span, from: position, into: &page, target: target)
                    guard position < piece.count else { break }
                    self.add(page)
                    page = RecordPage(continuing: reader.recordCount > 0, capacity: target)
                }
            }
            try reader.finish(into: &page)
            page.close()
            self.add(page)
            self.summary = reader.summary.json
            precondition(reader.recordCount == self.records.count)
        } catch {
            self = Self(error)
        }
    }

    init(
        _ text: String, _ format: ImportFormat?, limits: ImportLimits = .init(), delimiter: UInt8? = nil, cuts: [Int] = [],
        target: Int = 1 << 20
    ) {
        self.init(Array(text.utf8), format, limits: limits, delimiter: delimiter, cuts: cuts, target: target)
    }

    private init(_ error: ImportInputError) { self.error = error }

    private mutating func add(_ page: RecordPage) {
        self.pages.append(page.text)
        self.records += page.records.map { String(decoding: page.text[$0], as: UTF8.self) }
    }

    /// The document with these records.
    static func document(_ records: [String]) -> String {
        records.isEmpty ? "[\n]\n" : "[\n" + records.joined(separator: ",\n") + "\n]\n"
    }

    /// Ways to split `count` bytes into chunks: into two at each index, and into chunks of one to four bytes.
    static func cuts(_ count: Int) -> [[Int]] {
        guard count > 0 else { return [[]] }
        return (0...count).map { [$0] } + (1...4).map { Array(stride(from: $0, to: count, by: $0)) }
    }
}
