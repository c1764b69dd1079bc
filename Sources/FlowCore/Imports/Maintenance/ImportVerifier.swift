/// Verifies imports: compares sizes, counts and hashes in the ledger with what is stored.
public struct ImportVerifier: Sendable {
    public enum Problem: Hashable, Sendable {
        /// The ledger refers to an object that does not exist.
        case objectMissing
        case size(expected: Int, found: Int)
        case dataHash
        case contentHash
        case count(expected: Int, found: Int)
        /// Rows in addition to the object's sample rows: other services added them after a move, or a move back was
        /// interrupted.
        case extraRows(Int)
        case unreadable(String)
    }

    private let service: ImportService

    public init(_ service: ImportService) { self.service = service }

    /// Reads a whole import.
    /// - Parameter progress: called with the number of records read so far.
    /// - Returns: the problems found; empty if there are none.
    public func verify(_ entry: Import, progress: @escaping @Sendable (Int) -> Void) async throws(ImportError) -> [Problem] {
        guard entry.status == .stored else { return [] }
        var problems: [Problem] = []
        if let location = entry.location {
            guard let objects = self.service.objects, objects.provider == entry.provider else {
                throw .objects(.rejected("the import's object is in a store that is not configured (\(entry.provider))"))
            }
            let found: (any ObjectDownload)?
            do throws(ObjectError) {
                found = try await objects.download(location, range: nil)
            } catch .notFound {
                found = nil
            } catch {
                throw .objects(error)
            }
            guard let download = found else { return [.objectMissing] }
            if let size = entry.storage?.sizeBytes, size != download.info.size {
                problems.append(.size(expected: size, found: download.info.size))
            }
            let hashing = HashingDownload(download, self.service.codec)
            let index = try await self.service.index(of: entry)
            problems += try await self.read(ImportDocument(hashing, index: index, codec: self.service.codec), entry, progress)
            if let hash = entry.storage?.dataHash, hash != hashing.finish() { problems.append(.dataHash) }
            let rows = try await self.digestCount(entry)
            let samples = try await self.sampleCount(entry)
            if rows > samples { problems.append(.extraRows(rows - samples)) }
        } else {
            let rows = ImportDocument(rows: self.service.records, of: entry.id, codec: self.service.codec)
            problems += try await self.read(rows, entry, progress)
        }
        return problems
    }

    private func read(
        _ document: ImportDocument, _ entry: Import, _ progress: (Int) -> Void
    ) async throws(ImportError) -> [Problem] {
        let pages = RecordPageIterator(document, limits: .stored)
        let content = self.service.codec.makeHash()
        var count = 0
        do throws(ImportError) {
            while let page = try await pages.next() {
                page.hash(into: content)
                count += page.records.count
                progress(count)
            }
        } catch .damaged(let what) {
            return [.unreadable(what)]
        }
        var problems: [Problem] = []
        if let total = entry.totalRecords, total != count { problems.append(.count(expected: total, found: count)) }
        // Imports of the legacy service have no content hash.
        if let hash = entry.storage?.contentHash, !hash.isEmpty, hash != content.finish() { problems.append(.contentHash) }
        return problems
    }

    private func digestCount(_ entry: Import) async throws(ImportError) -> Int {
        do throws(StoreError) { return try await self.service.records.digest(of: entry.id).count } catch { throw .store(error) }
    }

    private func sampleCount(_ entry: Import) async throws(ImportError) -> Int {
        do throws(StoreError) { return try await self.service.ledger.samples(of: entry.id).count } catch { throw .store(error) }
    }
}

extension ImportVerifier.Problem: CustomStringConvertible {
    /// Whether records are lost or changed.
    public var isDamage: Bool {
        if case .extraRows = self { false } else { true }
    }

    public var description: String {
        switch self {
        case .objectMissing: "the object is missing"
        case .size(let expected, let found): "the object has \(found) bytes instead of \(expected)"
        case .dataHash: "the object's hash differs from the ledger (data_hash)"
        case .contentHash: "the hash of the records differs from the ledger (content_hash)"
        case .count(let expected, let found): "there are \(found) records instead of \(expected)"
        case .extraRows(let count):
            "\(count) extra rows next to the object (late, or of an interrupted move); `imports move --to postgres` merges them"
        case .unreadable(let what): what
        }
    }
}
