/// Finds out what an import's records look like: which fields they have and what is in them.
///
/// Only the top of a record is looked at: objects and arrays in it count as such. Its memory is bounded by the limits, whatever
/// the records are. The same records in the same order give the same result, in every process.
public struct SchemaAnalysis: Sendable {
    /// Whether all records were looked at.
    public enum Scope: String, Hashable, Sendable {
        case full
        case sample = "streaming_sample"
    }

    private let limits: SchemaLimits

    /// Records that were looked at.
    public private(set) var recordCount = 0

    /// In the order in which the fields first appeared.
    private var fields: [FieldAnalysis] = []
    /// Decoded.
    private var names: [ArraySlice<UInt8>] = []
    private var indices: [ArraySlice<UInt8>: Int] = [:]
    /// Members of fields that are not in ``fields``.
    private var moreCount = 0

    /// The members of the record at hand: the field, and where its value is.
    private var members: [(field: Int, value: Range<Int>)] = []
    /// By field: the last one of its members in the record at hand, by index.
    private var last: [Int] = []

    public init(limits: SchemaLimits = .init()) { self.limits = limits }

    public mutating func add(_ record: JSONText) { self.add(record.bytes, record.bytes.indices) }

    /// - Parameter record: where in the text the record is: a valid one in compact form. Any other gives nonsense.
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
        // Of several of one name the last one counts, as most readers of JSON have it.
        for (index, member) in self.members.enumerated() where self.last[member.field] == index {
            self.fields[member.field].add(text, member.value)
        }
    }

    private mutating func field(_ name: ArraySlice<UInt8>) -> Int? {
        if let index = self.indices[name] { return index }
        guard self.fields.count < self.limits.fields, name.count <= self.limits.nameBytes else { return nil }
        let index = self.fields.count
        // A copy, as the name is a part of the record.
        let name = Array(name)[...]
        self.fields.append(FieldAnalysis(limits: self.limits))
        self.names.append(name)
        self.last.append(-1)
        self.indices[name] = index
        return index
    }

    // MARK: Result

    /// What the fields are called and of what type they are, for a hash: imports with the same fields have the same signature,
    /// whatever the fields' order and values.
    ///
    /// `[["amount","number"],["id","integer"]]`, sorted by the names' code points.
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

    /// The result.
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
    /// `type` is the most frequent one but `null`. Shares are of what is above: of the records, of those that have the field, of
    /// the strings that are not empty. `numbers` and `strings` are only there if there are any. Lengths are in characters.
    /// `pattern` is what nine in ten of the strings are that are not empty, or `null`. If there are more fields than the limit
    /// allows, or some with longer names, `more_members` counts their members.
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
