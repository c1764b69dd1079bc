/// Writes the records of an import as rows of the database.
final class RowSink: ImportSink {
    private let records: any RecordStore
    private let entry: Import
    /// Number of records written so far, which is the number of the next record.
    private var count = 0
    /// Bytes of the pages written so far.
    private var bytes = 0

    init(_ records: any RecordStore, _ entry: Import) {
        self.records = records
        self.entry = entry
    }

    /// Adds the page's records as rows, in one transaction.
    /// - Throws: ``ImportError/claimLost`` if another worker has claimed the import since.
    func write(_ page: RecordPage) async throws {
        let texts = page.records.map { JSONText(unchecked: Array(page.text[$0])) }
        self.bytes += page.text.count
        guard !texts.isEmpty else { return }
        let claimHeld: Bool
        do throws(StoreError) {
            claimHeld = try await self.records.append(
                texts, at: self.count, to: self.entry.id, account: self.entry.account, claim: self.entry.claim)
        } catch {
            throw ImportError.store(error)
        }
        guard claimHeld else { throw ImportError.claimLost }
        self.count += texts.count
    }

    /// Returns the size of the document. Each page was committed when it was written.
    func finish() async throws -> SinkResult { SinkResult(bucket: nil, storedBytes: self.bytes, dataHash: nil, index: nil) }

    /// Deletes the rows, as far as the database is available.
    /// - Returns: always `true`: ``ImportLedger/fail(_:claim:reason:)`` deletes rows that remain.
    @discardableResult
    func abort() async -> Bool {
        _ = try? await self.records.removeRecords(of: self.entry.id, claim: self.entry.claim)
        return true
    }
}
