/// Writes the records of an import as rows of the database, each encrypted if the import is encrypted.
final class RowSink: ImportSink {
    let pieces: ImportPieces?
    private let records: any RecordStore
    private let entry: Import
    /// Number of records written so far, which is the number of the next record.
    private var count = 0
    /// Bytes of the pages written so far.
    private var bytes = 0

    /// Records of an encrypted import that are not written yet: only at the end is it known which record is the last one.
    private var held: [JSONText] = []

    init(_ records: any RecordStore, _ entry: Import, pieces: ImportPieces?) {
        self.pieces = pieces
        self.records = records
        self.entry = entry
    }

    /// Adds the page's records as rows, in one transaction; if they are encrypted, those of the page before.
    /// - Throws: ``ImportError/claimLost`` if another worker has claimed the import since.
    func write(_ page: RecordPage) async throws {
        let texts = page.records.map { JSONText(unchecked: Array(page.text[$0])) }
        self.bytes += page.text.count
        guard !texts.isEmpty else { return }
        guard let pieces else { return try await self.append(texts) }
        let before = self.held
        self.held = texts
        if !before.isEmpty { try await self.append(pieces.sealRows(before, from: self.count, isEnd: false)) }
    }

    /// Adds rows in one transaction.
    private func append(_ texts: [JSONText]) async throws {
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

    /// Returns the size of the document. Each page was committed when it was written, or is now.
    func finish() async throws -> SinkResult {
        if let pieces, !self.held.isEmpty {
            try await self.append(pieces.sealRows(self.held, from: self.count, isEnd: true))
            self.held = []
        }
        return SinkResult(bucket: nil, storedBytes: self.bytes, dataHash: nil, index: nil)
    }

    /// Deletes the rows, as far as the database is available.
    /// - Returns: always `true`: ``ImportLedger/fail(_:claim:reason:)`` deletes rows that remain.
    @discardableResult
    func abort() async -> Bool {
        _ = try? await self.records.removeRecords(of: self.entry.id, claim: self.entry.claim)
        return true
    }
}
