/// Publishes `import_progress` events of one import, at most one per interval. Used by one task.
final class ImportProgress {
    static let type = EventType("import_progress")

    private let entry: Import
    /// Size of the body as sent; `nil` if the client did not declare it.
    private let totalBytes: Int?
    /// Minimum interval between two events, in milliseconds.
    private let interval: Int64
    private let now: @Sendable () -> Timestamp
    /// Publishes an event on the import's flow, if the import has one.
    private let publish: (TransientEvent) -> Void
    /// Time, bytes and records of the most recent event; at first, of the start.
    private var last: (at: Timestamp, bytes: Int, records: Int)
    /// Smoothed bytes and records per second.
    private var rates = (bytes: 0.0, records: 0.0)

    init(
        _ entry: Import, totalBytes: Int?, interval: Int64, now: @escaping @Sendable () -> Timestamp,
        publish: @escaping (TransientEvent) -> Void
    ) {
        self.entry = entry
        self.totalBytes = totalBytes
        self.interval = interval
        self.now = now
        self.publish = publish
        self.last = (now(), 0, 0)
    }

    /// Publishes an event if the interval since the previous one has passed.
    /// - Parameters:
    ///   - bytes: number of bytes of the body as sent that were read so far.
    ///   - records: number of records that were read so far.
    func update(bytes: Int, records: Int) {
        let now = self.now()
        let passed = now.milliseconds - self.last.at.milliseconds
        guard passed >= self.interval else { return }
        // Smoothed, because the chunks of a body arrive unevenly.
        func smooth(_ old: Double, _ amount: Int) -> Double {
            let rate = Double(amount) * 1_000 / Double(passed)
            return old == 0 ? rate : old * 0.7 + rate * 0.3
        }
        self.rates = (smooth(self.rates.bytes, bytes - self.last.bytes), smooth(self.rates.records, records - self.last.records))
        self.last = (now, bytes, records)
        guard let type = Self.type else { return }
        let data = JSONText.object { writer in
            writer.key("import_id")
            writer.value(self.entry.id.rawValue)
            if let name = self.entry.fileName {
                writer.key("file_name")
                writer.value(name)
            }
            writer.key("bytes")
            writer.value(bytes)
            if let total = self.totalBytes {
                writer.key("total_bytes")
                writer.value(total)
            }
            writer.key("records")
            writer.value(records)
            writer.key("bytes_per_second")
            writer.value(Int(self.rates.bytes))
            writer.key("records_per_second")
            writer.value(Int(self.rates.records))
        }
        self.publish(TransientEvent(type: type, data: data, createdAt: now))
    }
}
