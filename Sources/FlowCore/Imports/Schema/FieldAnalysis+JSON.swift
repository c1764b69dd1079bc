extension FieldAnalysis {
    /// Writes the statistics of the field as an object, see ``SchemaAnalysis/json(totalRecords:scope:)``.
    /// - Parameter records: number of records that were analyzed.
    func write(to writer: inout JSONWriter, records: Int) {
        writer.beginObject()
        writer.key("type")
        writer.value(self.type.name)
        writer.key("present")
        writer.value(self.present)
        writer.key("present_share")
        writer.value(Self.share(self.present, of: records))
        writer.key("missing")
        writer.value(records - self.present)
        writer.key("nulls")
        writer.value(self.count(of: .null))
        writer.key("null_share")
        writer.value(Self.share(self.count(of: .null), of: self.present))
        writer.key("types")
        let types = SchemaType.allCases.map { ($0.name, self.count(of: $0)) }
        Self.write(types, of: self.present, to: &writer)
        writer.key("distinct")
        writer.value(self.distinct.value)
        writer.key("distinct_is_exact")
        writer.value(self.distinct.isExact)
        self.writeNumbers(to: &writer)
        self.writeStrings(to: &writer)
        writer.key("pattern")
        if let pattern = self.strings.pattern { writer.value(pattern.name) } else { writer.null() }
        writer.key("examples")
        writer.beginArray()
        for example in self.examples { writer.raw(example) }
        writer.endArray()
        writer.endObject()
    }

    /// Writes the member `numbers`, if the field has numbers.
    private func writeNumbers(to writer: inout JSONWriter) {
        guard let least = self.numbers.least, let greatest = self.numbers.greatest else { return }
        writer.key("numbers")
        writer.beginObject()
        writer.key("min")
        writer.raw(JSONText(trusted: Array(least)))
        writer.key("max")
        writer.raw(JSONText(trusted: Array(greatest)))
        writer.endObject()
    }

    /// Writes the member `strings`, if the field has strings.
    private func writeStrings(to writer: inout JSONWriter) {
        let strings = self.strings
        guard strings.count > 0 else { return }
        writer.key("strings")
        writer.beginObject()
        writer.key("empty")
        writer.value(strings.emptyCount)
        writer.key("min_length")
        writer.value(strings.minimumLength)
        writer.key("max_length")
        writer.value(strings.maximumLength)
        writer.key("mean_length")
        writer.value(strings.meanLength)
        writer.key("min")
        writer.value(String(decoding: strings.least ?? [], as: UTF8.self))
        writer.key("max")
        writer.value(String(decoding: strings.greatest, as: UTF8.self))
        writer.key("patterns")
        let patterns = TextPattern.allCases.map { ($0.name, strings.count(of: $0)) }
        Self.write(patterns, of: strings.filledCount, to: &writer)
        writer.endObject()
    }

    /// Writes counts and their shares of a total: `{"string":{"count":8,"share":0.8}}`, without entries that have a
    /// count of 0.
    private static func write(_ counts: [(name: String, count: Int)], of total: Int, to writer: inout JSONWriter) {
        writer.beginObject()
        for (name, count) in counts where count > 0 {
            writer.key(name)
            writer.beginObject()
            writer.key("count")
            writer.value(count)
            writer.key("share")
            writer.value(Self.share(count, of: total))
            writer.endObject()
        }
        writer.endObject()
    }

    /// A share rounded to four decimals; 0 if `total` is 0.
    private static func share(_ count: Int, of total: Int) -> Double {
        total == 0 ? 0 : (Double(count) / Double(total) * 10_000).rounded() / 10_000
    }
}
