/// Statistics of the records of an import: which fields they have, and the types and values of the fields.
///
/// Only the top level of a record is analyzed: nested objects and arrays count as values of these types. Memory is
/// bounded by the limits for any records. The same records in the same order give the same result in every process.
public struct SchemaAnalysis: Sendable {
    /// Whether all records or a sample of them were analyzed.
    public enum Scope: String, Hashable, Sendable {
        /// All records of the import were analyzed.
        case full
        /// A sample of the records was analyzed.
        case sample = "streaming_sample"
    }

    private let limits: SchemaLimits

    /// Number of records that were analyzed.
    public private(set) var recordCount = 0

    /// The fields that are analyzed, in the order of their first appearance.
    private var fields: [FieldAnalysis] = []
    /// The decoded names of ``fields``.
    private var names: [ArraySlice<UInt8>] = []
    /// Index in ``fields`` by decoded name.
    private var indices: [ArraySlice<UInt8>: Int] = [:]
    /// Number of members whose fields are not in ``fields``.
    private var moreCount = 0

    /// Members of the current record: the index of the field and the range of the value.
    private var members: [(field: Int, value: Range<Int>)] = []
    /// For each field, the index in ``members`` of its last member in the current record.
    private var last: [Int] = []

    public init(limits: SchemaLimits = .init()) { self.limits = limits }

    /// Adds a record.
    public mutating func add(_ record: JSONText) { self.add(record.bytes, record.bytes.indices) }

    /// Adds a record that is part of a text.
    /// - Parameter record: range of the record in the text. It must be valid compact JSON, else the result is
    ///   meaningless.
    public mutating func add(_ text: [UInt8], _ record: Range<Int>) {
        self.recordCount += 1
        self.members.removeAll(keepingCapacity: true)
        for member in JSONMemberRanges(in: text, at: record.lowerBound) {
            guard let field = self.field(JSONStringDecoding.decoded(text, member.key)) else {
                self.moreCount += 1
                continue
            }
            self.last[field] = self.members.count
            self.members.append((field, member.value))
        }
        // If a record repeats a name, the last member counts, as in most JSON parsers.
        for (index, member) in self.members.enumerated() where self.last[member.field] == index {
            self.fields[member.field].add(text, member.value)
        }
    }

    /// Finds a field by its decoded name, or adds it.
    /// - Returns: its index in ``fields``; `nil` if the name is too long or there are too many fields.
    private mutating func field(_ name: ArraySlice<UInt8>) -> Int? {
        if let index = self.indices[name] { return index }
        guard self.fields.count < self.limits.fields, name.count <= self.limits.nameBytes else { return nil }
        let index = self.fields.count
        // A copy, because the slice would keep the whole record in memory.
        let name = Array(name)[...]
        self.fields.append(FieldAnalysis(limits: self.limits))
        self.names.append(name)
        self.last.append(-1)
        self.indices[name] = index
        return index
    }

    // MARK: Results

    /// Names and types of the fields, from which the pattern key is calculated. Imports with the same fields and
    /// types have the same signature, whatever the order and the values of the fields are.
    ///
    /// The signature is JSON, such as `[["amount","number"],["id","integer"]]`, sorted by the names' code points.
    public var signature: [UInt8] {
        let sorted = self.names.indices.sorted { self.names[$0].lexicographicallyPrecedes(self.names[$1]) }
        return JSONText.array { writer in
            for index in sorted {
                writer.beginArray()
                writer.value(String(decoding: self.names[index], as: UTF8.self))
                writer.value(self.fields[index].type.name)
                writer.endArray()
            }
        }.bytes
    }

    /// The result as JSON.
    ///
    /// ```json
    /// {
    ///   "field_info": {
    ///     "name": {
    ///       "type": "string", "present": 9, "present_share": 0.9, "missing": 1, "nulls": 1, "null_share": 0.1111,
    ///       "types": {"string": {"count": 8, "share": 0.8889}, "null": {"count": 1, "share": 0.1111}},
    ///       "distinct": 7, "distinct_is_exact": true,
    ///       "numbers": {"min": 1, "max": 9.50},
    ///       "strings": {
    ///         "empty": 1, "min_length": 0, "max_length": 12, "mean_length": 7.25, "min": "", "max": "zebra",
    ///         "patterns": {"email": {"count": 7, "share": 1}}
    ///       },
    ///       "pattern": "email", "examples": ["a@example.org"]
    ///     }
    ///   },
    ///   "field_count": 1, "records_analyzed": 10, "total_records": 10, "analysis_type": "full"
    /// }
    /// ```
    ///
    /// `type` is the most frequent type except `null`. `present_share` is a share of all analyzed records; `null_share` and
    /// the shares of `types` are shares of the records that have the field, and those of `patterns` of the strings that
    /// are not empty. `numbers` and `strings` exist only if the field has numbers or strings. Lengths are in characters
    /// (code points).
    /// `pattern` is the pattern of at least nine in ten of the strings that are not empty, else `null`. Members of
    /// fields beyond the limit, or with names longer than the limit, are counted in `more_members`.
    ///
    /// - Parameters:
    ///   - totalRecords: number of all records of the import.
    ///   - scope: whether all records or a sample were analyzed.
    public func json(totalRecords: Int, scope: Scope) -> JSONText {
        .object { writer in
            writer.key("field_info")
            writer.beginObject()
            for (name, field) in zip(self.names, self.fields) {
                writer.key(String(decoding: name, as: UTF8.self))
                field.write(to: &writer, records: self.recordCount)
            }
            writer.endObject()
            writer.key("field_count")
            writer.value(self.fields.count)
            if self.moreCount > 0 {
                writer.key("more_members")
                writer.value(self.moreCount)
            }
            writer.key("records_analyzed")
            writer.value(self.recordCount)
            writer.key("total_records")
            writer.value(totalRecords)
            writer.key("analysis_type")
            writer.value(scope.rawValue)
        }
    }
}
