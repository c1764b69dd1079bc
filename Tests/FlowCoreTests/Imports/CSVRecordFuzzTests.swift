import FlowCore
import Testing

/// Random tables, written as CSV in a random way and read back.
@Suite struct CSVRecordFuzzTests {
    struct Table {
        var names: [String] = []
        var rows: [[String]] = []
        var delimiter = UInt8(ascii: ",")
        var text: [UInt8] = []

        init(_ random: inout JSONFuzzGenerator) {
            self.delimiter = random.pick(Array(",;\t|".utf8))
            let columns = 1 + random.below(4)
            for index in 0..<columns { self.names.append(Self.cell(&random) + "\(index)") }
            for _ in 0..<random.below(6) {
                self.rows.append((0..<1 + random.below(columns + 2)).map { _ in Self.cell(&random) })
            }
            let lineEnd = random.pick(["\n", "\r\n", "\r"])
            var text = random.chance(20) ? "\u{FEFF}" : ""
            for (index, row) in ([self.names] + self.rows).enumerated() {
                if random.chance(10) { text += lineEnd }
                text += row.map { self.written($0, isAlone: row.count == 1, &random) }
                    .joined(separator: String(Unicode.Scalar(self.delimiter)))
                if index < self.rows.count || random.chance(80) { text += lineEnd }
            }
            self.text = Array(text.utf8)
        }

        private static func cell(_ random: inout JSONFuzzGenerator) -> String {
            let parts = [
                "", "a", "b c", ",", ";", "\t", "|", "\"", "\"\"", "\r\n", "\n", "\r", "\\", "\u{0}", "é", "ह", "😀",
                "0123456789abcdefghi",
            ]
            return (0..<random.below(5)).map { _ in random.pick(parts) }.joined()
        }

        private func written(_ cell: String, isAlone: Bool, _ random: inout JSONFuzzGenerator) -> String {
            let special = cell.utf8.contains { [self.delimiter, 0x0A, 0x0D].contains($0) }
            let needsQuotes = special || cell.utf8.first == UInt8(ascii: "\"") || isAlone && cell.isEmpty
            guard needsQuotes || random.chance(30) else { return cell }
            return "\"" + cell.unicodeScalars.map { $0 == "\"" ? "\"\"" : String($0) }.joined() + "\""
        }

        /// The expected record of a row.
        func record(_ row: [String]) -> [String: String?] {
            var record: [String: String?] = [:]
            for (index, name) in self.names.enumerated() { record[name] = .some(index < row.count ? row[index] : nil) }
            if row.count > self.names.count { record["_extra"] = row[self.names.count...].joined(separator: "\u{1}") }
            return record
        }
    }

    @Test func readsRandomTablesAsWritten() throws {
        for seed in JSONFuzzTests.cases(600) {
            var random = JSONFuzzGenerator(seed: seed)
            let table = Table(&random)
            let reading = RecordReaderFixture(table.text, .csv, delimiter: table.delimiter, target: 1 + random.below(100))
            #expect(reading.error == nil, "seed \(seed)")
            #expect(reading.records.count == table.rows.count, "seed \(seed)")
            for (record, row) in zip(reading.records, table.rows) {
                let text = try #require(try? JSONText(validating: record.utf8), "seed \(seed)")
                let members = text.members.map { member -> (String, String?) in
                    let extra =
                        member.value.isArray
                        ? member.value.elements.map { $0.stringValue ?? "?" }.joined(separator: "\u{1}") : nil
                    return (member.key, extra ?? member.value.stringValue)
                }
                #expect(Dictionary(members, uniquingKeysWith: { $1 }) == table.record(row), "seed \(seed)")
                #expect(members.prefix(table.names.count).map(\.0) == table.names, "seed \(seed)")
            }
            #expect((try? JSONText(validating: reading.document.utf8)) != nil, "seed \(seed)")
        }
    }

    /// For any text and limits, the chunks change neither the records nor the first error.
    @Test func chunkBoundariesDoNotChangeRecordsOrError() {
        for seed in JSONFuzzTests.cases(1000) {
            var random = JSONFuzzGenerator(seed: seed)
            var limits = ImportLimits()
            if random.chance(50) { limits.recordBytes = 1 + random.below(150) }
            limits.csvColumns = 1 + random.below(6)
            limits.csvNameBytes = 1 + random.below(60)
            var bytes = Table(&random).text
            for _ in 0..<random.below(3) {
                bytes.insert(random.pick([0x22, 0x0A, 0x0D, 0x2C, 0xC3, 0xA9, 0x80, 0x5C]), at: random.below(bytes.count + 1))
            }
            let format = random.pick([.csv, nil] as [ImportFormat?])
            let target = 1 + random.below(100)
            let reading = RecordReaderFixture(bytes, format, limits: limits, target: target)
            let some = (0..<random.below(6)).map { _ in random.below(bytes.count + 1) }.sorted()
            for cuts in [some, Array(0...bytes.count)] {
                let again = RecordReaderFixture(bytes, format, limits: limits, cuts: cuts, target: target)
                #expect(again == reading, "seed \(seed), cut at \(cuts)")
            }
        }
    }
}
