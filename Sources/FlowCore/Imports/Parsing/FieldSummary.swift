/// Counts how many records of an import have which fields, and of which type. It counts while the records are read.
///
/// Only the members of records that are objects are counted. If a record repeats a name, only its last member is
/// counted, as in most JSON parsers. A CSV row has all columns; a missing cell counts as `null`.
public struct FieldSummary: Sendable {
    /// A field's decoded name and its counts.
    typealias Counted = (name: ArraySlice<UInt8>, counts: TypeCounts)

    /// The counts of one field.
    private struct Field: Sendable {
        var counts = TypeCounts()
        /// Number of the latest record that has the field, counted from 0; -1 before the first one.
        var record = -1
        /// Type of the field in that record.
        var type = TypeCounts.Kind.null

        /// Counts a value of the field. If the record has the field already, the new value replaces the earlier one.
        @inline(__always)
        mutating func add(_ type: TypeCounts.Kind, record: Int) {
            if self.record == record { self.counts.remove(self.type) }
            self.counts.add(type)
            self.record = record
            self.type = type
        }
    }

    /// Maximum number of fields that are counted individually.
    private let maximumFields: Int
    /// Maximum bytes of the name of such a field.
    private let maximumName: Int

    /// The fields that are counted individually, in the order of their first appearance.
    private var fields: [Field] = []
    /// The decoded names of ``fields``.
    private var names: [ArraySlice<UInt8>] = []
    /// Index in ``fields`` by decoded name.
    private var indices: [ArraySlice<UInt8>: Int] = [:]
    /// Index in ``fields`` by the name as written, which needs no decoding.
    private var spellings = FieldNameTable()
    /// Counts of all fields that are not in ``fields``.
    private var more = TypeCounts()
    /// Number of the record that is being read, counted from 0.
    private var record = 0
    /// Counts of CSV rows; `nil` for JSON.
    private var rows: RowLengths?

    init(limits: ImportLimits) {
        self.maximumFields = limits.summaryFields
        self.maximumName = limits.summaryNameBytes
    }

    /// The counts as JSON:
    /// `{"fields":{"name":{"count":2,"nulls":1,"types":{"string":1,"null":1}}},"field_count":1}`
    ///
    /// `count` is the number of records that have the field, including those with `null`. Fields beyond the limit,
    /// and fields with names longer than the limit, are counted together under `_more`, a sibling of `fields`.
    /// `field_count` does not include them.
    public var json: JSONText {
        let (fields, more) = self.counted
        return .object { writer in
            writer.key("fields")
            writer.beginObject()
            for field in fields {
                writer.key(String(decoding: field.name, as: UTF8.self))
                field.counts.write(to: &writer)
            }
            writer.endObject()
            writer.key("field_count")
            writer.value(fields.count)
            if more.total > 0 {
                writer.key("_more")
                more.write(to: &writer)
            }
        }
    }

    /// The counts of the individual fields, and of all others together.
    private var counted: (fields: [Counted], more: TypeCounts) {
        guard let rows = self.rows else { return (zip(self.names, self.fields).map { ($0, $1.counts) }, self.more) }
        var fields: [Counted] = []
        var more = TypeCounts()
        for field in rows.fields {
            if fields.count < self.maximumFields, field.name.count <= self.maximumName {
                fields.append(field)
            } else {
                more.add(field.counts)
            }
        }
        return (fields, more)
    }

    // MARK: CSV

    /// Sets the columns of CSV, before the first row.
    mutating func setColumns(_ columns: CSVColumns) { self.rows = RowLengths(columns) }

    /// Counts CSV rows.
    /// - Parameter cells: number of cells of each row.
    mutating func addRows(_ cells: [Int]) { self.rows?.add(cells) }

    // MARK: JSON

    /// Counts the members that a scanner has found.
    /// - Parameter text: the text in which the members' ranges are.
    mutating func add(_ members: [RecordScanOutput.Member], in text: Span<UInt8>) {
        for member in members {
            if member.value == 0 {
                self.record += 1
                continue
            }
            let type = TypeCounts.Kind(startingWith: member.value)
            let key = FieldNameTable.Key(member.key, in: text)
            if let index = self.spellings.index(of: key, in: text) ?? self.lookUp(key, in: text) {
                self.fields[index].add(type, record: self.record)
            } else {
                self.more.add(type)
            }
        }
    }

    /// Finds a field by its decoded name, or adds it.
    /// - Returns: its index in ``fields``; `nil` if the field is not counted individually.
    @inline(never)
    private mutating func lookUp(_ key: FieldNameTable.Key, in text: Span<UInt8>) -> Int? {
        guard key.range.count <= self.maximumName else { return nil }
        var quoted: [UInt8] = []
        for index in key.range.lowerBound - 1...key.range.upperBound { quoted.append(text[index]) }
        let name = JSONStringDecoding.decoded(quoted, quoted.indices)
        if let index = self.indices[name] { return index }
        let index = self.fields.count
        guard index < self.maximumFields else { return nil }
        self.fields.append(Field())
        self.names.append(name)
        self.indices[name] = index
        self.spellings.add(key, quoted[1..<quoted.count - 1], index)
        return index
    }
}
