/// Verifies imports: compares sizes, counts and hashes in the ledger with what is stored.
public struct ImportVerifier: Sendable {
    /// A difference between the ledger and what is stored of an import.
    public enum Problem: Hashable, Sendable {
        /// The ledger refers to an object that does not exist.
        case objectMissing
        /// The ledger refers to an object that does not exist, but the rows are certainly all records. They are read instead.
        case rowsInPlaceOfObject
        /// The ledger's location cannot be the key of an object. The text says why.
        case invalidLocation(String)
        /// The object is in an object store of this provider, which this process does not use, so it was not read.
        case storeNotConfigured(String)
        /// The ledger names this provider, which contradicts its location, or which no store has. The records are read from
        /// what is there.
        case wrongProvider(String)
        /// The ledger's metadata or its gzip member index describes another object than the one at its location, or cannot be
        /// read. It is not used.
        case foreignMetadata
        /// There are fewer rows than records by the ledger, which names no location. The object may still exist.
        case onlySamples(expected: Int, found: Int)
        /// The records cannot be decrypted, and the ledger's row was changed by another program: its encryption may be that of an
        /// object at another key.
        case encryptedElsewhere
        /// The object's size in bytes differs from the ledger.
        case size(expected: Int, found: Int)
        /// The object's SHA-256 differs from the ledger.
        case dataHash
        /// The records' SHA-256 differs from the ledger.
        case contentHash
        /// The number of records differs from the ledger.
        case count(expected: Int, found: Int)
        /// There are fewer records than the object has that a hub has stored for the import. Another program has given the import
        /// another object.
        case fewerThanStored(expected: Int, found: Int)
        /// The records are in an object, but the database has this many rows of the import besides the sample rows.
        /// Either the legacy service added them after the move to the object, or a move back to rows was interrupted.
        case extraRows(Int)
        /// Reading the records failed, because they are damaged or their import key is missing. The text describes it in whole
        /// sentences.
        case unreadable(String)
    }

    let service: ImportService

    public init(_ service: ImportService) { self.service = service }

    /// Reads all records of a stored import, and compares them with the ledger.
    /// - Parameter progress: called with the number of records read so far.
    /// - Returns: the problems found; empty if there are none, or if the import is not `stored`.
    /// - Throws: ``ImportError`` if a store fails or is not configured.
    public func verify(_ entry: Import, progress: @escaping @Sendable (Int) -> Void) async throws(ImportError) -> [Problem] {
        guard entry.status == .stored else { return [] }
        var problems = entry.contradictingProvider.map { [Problem.wrongProvider($0)] } ?? []
        guard let location = entry.location else {
            for problem in try await self.readRows(of: entry, progress) {
                switch problem {
                case .count, .unreadable:
                    let counts = try await self.service.rowCounts(of: entry)
                    if let total = entry.totalRecords, counts.isIncomplete(total, isCounted: false) {
                        problems.append(.onlySamples(expected: total, found: counts.rows))
                    } else {
                        problems.append(problem)
                        if try await self.service.isEncryptedElsewhere(entry) { problems.append(.encryptedElsewhere) }
                    }
                default: problems.append(problem)
                }
            }
            return problems
        }
        let objects: any ObjectStore
        do throws(ImportError) { objects = try self.service.objectStore(of: entry) } catch {
            return [.storeNotConfigured(entry.provider)]
        }
        if objects.provider != entry.provider { problems.append(.wrongProvider(entry.provider)) }
        let found: (any ObjectDownload)?
        do throws(ObjectError) {
            found = try await objects.download(location, range: nil)
        } catch .notFound {
            found = nil
        } catch .invalid(let reason) {
            problems.append(.invalidLocation(reason))
            found = nil
        } catch {
            throw .objects(error)
        }
        guard let download = found else { return try await problems + self.verifyRows(inPlaceOfObjectOf: entry, progress) }
        return try await problems + self.verify(download, at: location, entry, progress)
    }

    /// Verifies an object. What the ledger says about another object is not compared.
    private func verify(
        _ download: any ObjectDownload, at location: String, _ entry: Import, _ progress: (Int) -> Void
    ) async throws(ImportError) -> [Problem] {
        var problems: [Problem] = []
        var entry = entry
        let hasIndex: Bool
        do throws(StoreError) { hasIndex = try await self.service.ledger.index(of: entry.id) != nil } catch {
            throw .store(error)
        }
        let index = try await self.service.index(of: entry)
        let isOfHub = entry.storage?.isOfHub(for: location) ?? false
        let isForeign = entry.storage.map { !$0.concerns(location) } ?? false
        if isForeign { entry.storage = nil }
        if hasIndex && (index == nil || !isOfHub) || isForeign || entry.hasUnreadableStorage {
            problems.append(.foreignMetadata)
        }
        if let size = entry.storage?.sizeBytes, size != download.info.size {
            problems.append(.size(expected: size, found: download.info.size))
        }
        let hashing = HashingDownload(download, self.service.codec)
        do throws(ImportError) {
            let document = ImportDocument(
                hashing, index: index, pieces: try self.service.pieces(of: entry), codec: self.service.codec)
            let stored = try await self.service.recordsOfHubObject(of: entry)
            problems += try await self.read(document, entry, stored: stored, progress)
        } catch {
            guard let what = error.unreadable else { throw error }
            // Without the import key only the object as it is stored can be compared.
            problems.append(.unreadable(what))
            do throws(ObjectError) { while try await hashing.next() != nil {} } catch { throw .objects(error) }
        }
        if entry.encryption != nil, !isOfHub, problems.contains(where: { $0.isDamage }) { problems.append(.encryptedElsewhere) }
        if let hash = entry.storage?.dataHash, hash != hashing.finish() { problems.append(.dataHash) }
        let counts = try await self.service.rowCounts(of: entry)
        let samples = min(counts.samples, Import.sampleRows)
        if counts.rows > samples { problems.append(.extraRows(counts.rows - samples)) }
        return problems
    }

    /// Verifies the rows of an import whose object does not exist.
    private func verifyRows(
        inPlaceOfObjectOf entry: Import, _ progress: (Int) -> Void
    ) async throws(ImportError) -> [Problem] {
        guard let rows = try await self.service.rowsInPlaceOfObject(of: entry) else {
            return try await self.service.isEncryptedElsewhere(entry) ? [.objectMissing, .encryptedElsewhere] : [.objectMissing]
        }
        return try await [.rowsInPlaceOfObject] + self.readRows(of: rows, progress)
    }

    /// Reads the records in rows, and compares their number and hash with the ledger.
    private func readRows(of entry: Import, _ progress: (Int) -> Void) async throws(ImportError) -> [Problem] {
        do throws(ImportError) {
            let pieces = try self.service.pieces(of: entry)
            let rows = ImportDocument(
                rows: self.service.records, of: entry.id, atLeast: pieces == nil ? nil : entry.totalRecords, pieces: pieces,
                codec: self.service.codec)
            return try await self.read(rows, entry, progress)
        } catch {
            guard let what = error.unreadable else { throw error }
            return [.unreadable(what)]
        }
    }

    /// Reads the records of a document, and compares their number and hash with the ledger.
    /// - Parameter stored: the number of records of the object that a hub has stored last; `nil` if there is none.
    private func read(
        _ document: ImportDocument, _ entry: Import, stored: Int? = nil, _ progress: (Int) -> Void
    ) async throws(ImportError) -> [Problem] {
        let pages = RecordPageIterator(document, limits: .stored)
        let content = self.service.codec.makeHash()
        var count = 0
        do throws(ImportError) {
            while let page = try await pages.next() {
                // A large import takes long, and a hub that stops does not wait for it.
                if Task.isCancelled { throw ImportError.store(.unavailable("the verification was canceled")) }
                page.hash(into: content)
                count += page.records.count
                progress(count)
            }
        } catch .damaged(let what) {
            return [.unreadable(what)]
        }
        var problems: [Problem] = []
        if let total = entry.totalRecords, total != count {
            problems.append(.count(expected: total, found: count))
        } else if let stored, stored > count {
            problems.append(.fewerThanStored(expected: stored, found: count))
        }
        // Imports of the legacy service have no content hash.
        if let hash = entry.storage?.contentHash, !hash.isEmpty, hash != content.finish() { problems.append(.contentHash) }
        return problems
    }
}

extension ImportVerifier.Problem: CustomStringConvertible {
    private static let repairAdvice = "`flowhub imports verify --repair` corrects the ledger"

    /// Whether the problem means that records are lost or changed, or were not read. Extra rows do not, nor does a
    /// contradiction in the ledger whose truth is certain.
    public var isDamage: Bool {
        switch self {
        case .extraRows: false
        default: !self.isRepairable
        }
    }

    /// Whether the problem is a contradiction in the ledger whose truth is certain, which ``ImportVerifier/repair(_:)``
    /// corrects.
    public var isRepairable: Bool {
        switch self {
        case .rowsInPlaceOfObject, .wrongProvider, .foreignMetadata: true
        default: false
        }
    }

    /// The problem as a part of a sentence, to print after the import's id.
    public var description: String {
        switch self {
        case .objectMissing:
            "the object is missing from the object store. Restore it from a backup under its key, or delete the import"
        case .rowsInPlaceOfObject:
            "the object is missing from the object store, but the rows are complete and are read instead. "
                + Self.repairAdvice
        case .invalidLocation(let reason): "the location in the ledger (storage_location) is no key of an object. \(reason)"
        case .storeNotConfigured(let provider):
            "the object is in the store \(provider), which is not configured here, so it was not read. Run this command with the "
                + "settings of that store"
        case .wrongProvider(let provider):
            "the provider in the ledger (storage_provider) is \(provider), but the records are elsewhere and are read there. "
                + Self.repairAdvice
        case .foreignMetadata:
            "the metadata in the ledger (storage_metadata, member_index) is of another object than that at the location, or cannot be "
                + "read. It is not used. " + Self.repairAdvice
        case .onlySamples(let expected, let found):
            "there are only \(found) sample rows of the \(expected) records in the ledger, and no location (storage_location). If "
                + "the bucket has an object of the import, write its key to storage_location; else delete the import"
        case .encryptedElsewhere:
            "another program has changed the ledger's row of this encrypted import. If the bucket has the encrypted object (`flowhub "
                + "imports sweep --dry-run` lists it), write its key to storage_location"
        case .size(let expected, let found):
            "the object has \(found) bytes instead of the \(expected) in the ledger (size_bytes)"
        case .dataHash: "the SHA-256 of the object differs from the ledger (data_hash)"
        case .contentHash: "the SHA-256 of the records differs from the ledger (content_hash)"
        case .count(let expected, let found):
            "there are \(found) records instead of the \(expected) in the ledger (total_records). If the bucket has another object of "
                + "the import (`flowhub imports sweep --dry-run` lists it), write its key to storage_location"
        case .fewerThanStored(let expected, let found):
            "there are \(found) records instead of the \(expected) that a hub has stored (member_index). If the bucket has another "
                + "object of the import (`flowhub imports sweep --dry-run` lists it), write its key to storage_location; if these are "
                + "all records now, set member_index to NULL"
        case .extraRows(let count):
            "\(count) extra rows in the database besides the object: added after the move to the object, or left by an "
                + "interrupted move to rows. `flowhub imports move --to postgres` merges them with the object's records"
        case .unreadable(let what): "the records cannot be read: \(what)"
        }
    }
}
