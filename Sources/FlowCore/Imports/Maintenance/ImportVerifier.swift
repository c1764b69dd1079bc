/// Verifies imports: compares sizes, counts and hashes in the ledger with what is stored.
public struct ImportVerifier: Sendable {
    /// A difference between the ledger and what is stored of an import.
    public enum Problem: Hashable, Sendable {
        /// The ledger refers to an object that does not exist.
        case objectMissing
        /// The object's size in bytes differs from the ledger.
        case size(expected: Int, found: Int)
        /// The object's SHA-256 differs from the ledger.
        case dataHash
        /// The records' SHA-256 differs from the ledger.
        case contentHash
        /// The number of records differs from the ledger.
        case count(expected: Int, found: Int)
        /// The records are in an object, but the database has this many rows of the import besides the sample rows.
        /// Either the legacy service added them after the move to the object, or a move back to rows was interrupted.
        case extraRows(Int)
        /// Reading the records failed, because they are damaged or their import key is missing. The text describes it in whole
        /// sentences.
        case unreadable(String)
    }

    private let service: ImportService

    public init(_ service: ImportService) { self.service = service }

    /// Reads all records of a stored import, and compares them with the ledger.
    /// - Parameter progress: called with the number of records read so far.
    /// - Returns: the problems found; empty if there are none, or if the import is not `stored`.
    /// - Throws: ``ImportError`` if a store fails or is not configured.
    public func verify(_ entry: Import, progress: @escaping @Sendable (Int) -> Void) async throws(ImportError) -> [Problem] {
        guard entry.status == .stored else { return [] }
        var problems: [Problem] = []
        if let location = entry.location {
            guard let objects = self.service.objects, objects.provider == entry.provider else {
                throw .objects(.rejected(ImportService.unconfigured(entry.provider)))
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
            do throws(ImportError) {
                let document = ImportDocument(
                    hashing, index: index, pieces: try self.service.pieces(of: entry), codec: self.service.codec)
                problems += try await self.read(document, entry, progress)
            } catch {
                guard let what = error.unreadable else { throw error }
                // Without the import key only the object as it is stored can be compared.
                problems.append(.unreadable(what))
                do throws(ObjectError) { while try await hashing.next() != nil {} } catch { throw .objects(error) }
            }
            if let hash = entry.storage?.dataHash, hash != hashing.finish() { problems.append(.dataHash) }
            let rows = try await self.digestCount(entry)
            let samples = try await self.sampleCount(entry)
            if rows > samples { problems.append(.extraRows(rows - samples)) }
        } else {
            do throws(ImportError) {
                let pieces = try self.service.pieces(of: entry)
                let rows = ImportDocument(
                    rows: self.service.records, of: entry.id, atLeast: pieces == nil ? nil : entry.totalRecords, pieces: pieces,
                    codec: self.service.codec)
                problems += try await self.read(rows, entry, progress)
            } catch {
                guard let what = error.unreadable else { throw error }
                problems.append(.unreadable(what))
            }
        }
        return problems
    }

    /// Reads the records of a document, and compares their number and hash with the ledger.
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

    /// Number of the import's rows in the database, sample rows included: the count in the digest of its rows.
    private func digestCount(_ entry: Import) async throws(ImportError) -> Int {
        do throws(StoreError) { return try await self.service.records.digest(of: entry.id).count } catch { throw .store(error) }
    }

    /// Number of the import's sample rows.
    private func sampleCount(_ entry: Import) async throws(ImportError) -> Int {
        do throws(StoreError) { return try await self.service.ledger.samples(of: entry.id).count } catch { throw .store(error) }
    }
}

extension ImportVerifier.Problem: CustomStringConvertible {
    /// Whether the problem means that records are lost or changed. Extra rows do not.
    public var isDamage: Bool {
        if case .extraRows = self { false } else { true }
    }

    /// The problem as a part of a sentence, to print after the import's id.
    public var description: String {
        switch self {
        case .objectMissing: "the object is missing from the object store"
        case .size(let expected, let found):
            "the object has \(found) bytes instead of the \(expected) in the ledger (size_bytes)"
        case .dataHash: "the SHA-256 of the object differs from the ledger (data_hash)"
        case .contentHash: "the SHA-256 of the records differs from the ledger (content_hash)"
        case .count(let expected, let found):
            "there are \(found) records instead of the \(expected) in the ledger (total_records)"
        case .extraRows(let count):
            "\(count) extra rows in the database besides the object: added after the move to the object, or left by an "
                + "interrupted move to rows. `flowhub imports move --to postgres` merges them with the object's records"
        case .unreadable(let what): "the records cannot be read: \(what)"
        }
    }
}
