/// The statistics of one field.
struct FieldAnalysis: Sendable {
    private let limits: SchemaLimits
    /// Number of values of each ``SchemaType``, indexed by its raw value.
    private var counts = [Int](repeating: 0, count: SchemaType.allCases.count)
    /// Statistics of the values that are strings.
    private(set) var strings: StringStatistics
    /// The least and the greatest of the values that are numbers.
    private(set) var numbers = NumberRange()
    /// Number of distinct values except `null`.
    private(set) var distinct: DistinctCount
    /// The first distinct values in the order of their appearance. Truncated values, objects and arrays are shown as
    /// strings.
    private(set) var examples: [JSONText] = []
    /// Hashes of the values that ``examples`` shows.
    private var exampleHashes: [UInt64] = []

    init(limits: SchemaLimits) {
        self.limits = limits
        self.strings = StringStatistics(maximumCharacters: limits.characters)
        self.distinct = DistinctCount(maximumExact: limits.exactDistinct)
    }

    /// Number of records that have the field.
    var present: Int { self.counts.reduce(0, +) }

    /// Number of records in which the field has this type.
    func count(of type: SchemaType) -> Int { self.counts[type.rawValue] }

    /// The most frequent type except null; null if the field has no other values. Integers count as numbers if the field
    /// has other numbers as well.
    var type: SchemaType {
        let integers = self.count(of: .integer)
        let numbers = self.count(of: .number)
        let numeric: SchemaType = numbers > 0 ? .number : .integer
        let others: [SchemaType] = [.string, .boolean, .object, .array]
        let all = [(numeric, integers + numbers)] + others.map { ($0, self.count(of: $0)) }
        let most = all.reduce((SchemaType.null, 0)) { $1.1 > $0.1 ? $1 : $0 }
        return most.0
    }

    /// Adds the field's value in one record.
    /// - Parameter value: range of the value in the text, as compact JSON.
    mutating func add(_ text: [UInt8], _ value: Range<Int>) {
        let type = SchemaType(of: text[value])
        self.counts[type.rawValue] += 1
        var content = text[value]
        switch type {
        case .null:
            return
        case .string:
            content = JSONStringDecoding.decoded(text, value)
            self.strings.add(content)
        case .integer, .number:
            self.numbers.add(content)
        case .boolean, .object, .array:
            break
        }
        let hash = StableHash.hash(content, seed: UInt64(type.rawValue))
        self.distinct.add(hash)
        self.addExample(content, type, hash)
    }

    /// Adds a value to the examples, unless there are enough examples or the value is one of them.
    /// - Parameters:
    ///   - content: the value as written; for a string, its decoded content.
    ///   - hash: hash of the whole value.
    private mutating func addExample(_ content: ArraySlice<UInt8>, _ type: SchemaType, _ hash: UInt64) {
        guard self.examples.count < self.limits.examples, !self.exampleHashes.contains(hash) else { return }
        let truncated = StringStatistics.truncated(content, to: self.limits.characters)
        let isWhole = truncated.count == content.count
        let isAsWritten = isWhole && (type == .integer || type == .number || type == .boolean)
        let example = isAsWritten ? JSONText(trusted: Array(truncated)) : Self.string(truncated)
        // Two different values may be equal after truncation: show them once.
        guard !self.examples.contains(example) else { return }
        self.examples.append(example)
        self.exampleHashes.append(hash)
    }

    /// A text in UTF-8 as a JSON string.
    private static func string(_ text: ArraySlice<UInt8>) -> JSONText {
        var writer = JSONWriter()
        writer.value(String(decoding: text, as: UTF8.self))
        return writer.finish()
    }
}
