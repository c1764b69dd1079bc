/// How often the records of an import have which fields, and of what type: counted while they are read.
///
/// Only members of a record that is an object count. Where a record repeats a name, its last member counts, as most readers of
/// JSON have it. A row of CSV has all columns; what it lacks is `null`.
public struct FieldSummary: Sendable {
    typealias Counted = (name: ArraySlice<UInt8>, counts: TypeCounts)

    /// The counts of one field.
    private struct Field: Sendable {
        var counts = TypeCounts()
        /// The last record that has it, and its type there.
        var record = -1
        var type = TypeCounts.Kind.null

        @inline(__always)
        mutating func add(_ type: TypeCounts.Kind, record: Int) {
            if self.record == record { self.counts.remove(self.type) }
            self.counts.add(type)
            self.record = record
            self.type = type
        }
    }

    private let maximumFields: Int
    private let maximumName: Int

    /// In the order in which they first appeared.
    private var fields: [Field] = []
    /// Their names, decoded.
    private var names: [ArraySlice<UInt8>] = []
    private var indices: [ArraySlice<UInt8>: Int] = [:]
    private var spellings = FieldNameTable()
    /// Fields that are not in ``fields``.
    private var more = TypeCounts()
    /// The number of the record that is being read.
    private var record = 0
    /// CSV is counted by rows.
    private var rows: RowLengths?

    init(limits: ImportLimits) {
        self.maximumFields = limits.summaryFields
        self.maximumName = limits.summaryNameBytes
    }

    /// `{"fields":{"name":{"count":2,"nulls":1,"types":{"string":1,"null":1}}},"field_count":1}`
    ///
    /// `count` is how many records have the field, those with `null` included. If there are more fields than the limit allows, or
    /// some with longer names, their members are counted in one, under `_more` beside `fields`.
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

    /// Takes the columns, before the first row.
    mutating func begin(_ columns: CSVColumns) { self.rows = RowLengths(columns) }

    /// - Parameter cells: how many each row has.
    mutating func addRows(_ cells: [Int]) { self.rows?.add(cells) }

    // MARK: JSON

    /// Counts what a scanner has found.
    /// - Parameter text: what the findings refer to.
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

    /// Finds or adds a field by its decoded name.
    /// - Returns: `nil` for a field that is not counted by itself.
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
