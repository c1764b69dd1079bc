extension ImportService {
    // MARK: Ledger entries

    /// An import of this account in any status except `deleting`.
    /// - Throws: ``ImportError/notFound`` or ``ImportError/store(_:)``.
    public func entry(_ id: ImportID, account: String) async throws(ImportError) -> Import {
        let found: Import?
        do throws(StoreError) { found = try await self.ledger.load(id) } catch { throw .store(error) }
        guard let found, found.account == account, found.status != .deleting else { throw .notFound }
        return found
    }

    /// The imports of an account that match the query, the newest first, without those that are being deleted.
    public func list(_ query: ImportQuery) async throws(ImportError) -> ImportList {
        do throws(StoreError) { return try await self.ledger.list(query) } catch { throw .store(error) }
    }

    /// A stored import of this account, whose records can be read.
    /// - Throws: ``ImportError/notStored(_:)`` in any other status, besides the errors of ``entry(_:account:)``.
    private func storedEntry(_ id: ImportID, account: String) async throws(ImportError) -> Import {
        let entry = try await self.entry(id, account: account)
        guard entry.status == .stored else { throw .notStored(entry.status) }
        return entry
    }

    // MARK: Records

    /// The whole document, uncompressed.
    /// - Returns: the document, and its size in bytes if it is known in advance.
    public func document(_ id: ImportID, account: String) async throws(ImportError) -> (ImportDocument, bytes: Int?) {
        try await self.retryingIfMoved(id, account: account) { entry throws(ImportError) in
            let document = try await self.document(of: entry)
            return (value: (document, document.bytes), isSuspect: false)
        }
    }

    /// The document of an import, to be read from the storage that this ledger entry names. If that is an object,
    /// starts its download.
    public func document(of entry: Import) async throws(ImportError) -> ImportDocument {
        let pieces = try self.pieces(of: entry)
        guard let location = entry.location else {
            // The count in the ledger is exact if a hub stored the import, which a content hash shows. Fewer rows then mean
            // that rows were deleted, or moved during the read.
            let isCounted = entry.storage.map { !$0.contentHash.isEmpty } ?? false
            return ImportDocument(
                rows: self.records, of: entry.id, atLeast: isCounted ? entry.totalRecords : nil, pieces: pieces,
                codec: self.codec)
        }
        let index = try await self.index(of: entry)
        return ImportDocument(
            try await self.download(location, of: entry, range: nil), index: index, pieces: pieces, codec: self.codec)
    }

    /// The bytes of the stored object, decrypted but still compressed. If the ledger has the object's hash, the download ends without
    /// an error only if the bytes match that hash.
    /// - Returns: `nil` if the records are rows.
    public func storedObject(_ id: ImportID, account: String) async throws(ImportError) -> (any ObjectDownload)? {
        try await self.retryingIfMoved(id, account: account) { entry throws(ImportError) in
            guard let location = entry.location else { return (value: nil, isSuspect: false) }
            let pieces = try self.pieces(of: entry)
            let download = try await self.download(location, of: entry, range: nil)
            let storage = entry.storage.flatMap { $0.concerns(location) ? $0 : nil }
            let verified = storage?.dataHash.map { VerifiedDownload(download, hash: $0, self.codec) } ?? download
            guard let pieces else { return (value: verified, isSuspect: false) }
            guard let index = try await self.index(of: entry) else { throw Self.noIndex }
            return (value: DecryptedDownload(verified, index: index, pieces: pieces), isSuspect: false)
        }
    }

    /// Consecutive records from number `offset` on, counted from 0. If the object has an index, they need one
    /// ranged read. Fewer than `limit` are returned at the end of the import, or if the records would exceed
    /// ``ImportConfiguration/answerBytes``. If a record exists at `offset`, at least one is returned.
    /// - Returns: `records`, and `total`, the number of all records of the import; `nil` if that number is unknown.
    public func records(
        _ id: ImportID, account: String, offset: Int, limit: Int
    ) async throws(ImportError) -> (records: [JSONText], total: Int?) {
        try await self.retryingIfMoved(id, account: account) { entry throws(ImportError) in
            let records = try await self.records(of: entry, from: offset, limit: limit)
            let isShort = self.isShort(records, of: entry, from: offset, limit: limit)
            return (value: (records, entry.totalRecords), isSuspect: isShort)
        }
    }

    /// Runs a read, and repeats it if the records were moved during it, up to three times in all.
    /// - Parameter body: the read. It returns `value`, its result, and `isSuspect`: whether a concurrent move may have
    ///   made the result incomplete. If a move made records unreadable, it may throw ``ImportError/damaged(_:)``.
    ///   If the records were not moved, that result or error is final.
    /// - Throws: ``ImportError/claimedByOther`` if the records were moved during each attempt.
    func retryingIfMoved<Value>(
        _ id: ImportID, account: String, _ body: (Import) async throws(ImportError) -> (value: Value, isSuspect: Bool)
    ) async throws(ImportError) -> Value {
        var entry = try await self.storedEntry(id, account: account)
        for _ in 0..<Self.readAttempts {
            let outcome: Result<Value, ImportError>
            do throws(ImportError) {
                let (value, isSuspect) = try await body(entry)
                guard isSuspect else { return value }
                outcome = .success(value)
            } catch {
                guard case .damaged = error else { throw error }
                outcome = .failure(error)
            }
            let now = try await self.storedEntry(id, account: account)
            guard now.location == entry.location, now.provider == entry.provider else {
                entry = now
                continue
            }
            if case .failure = outcome, let rows = try await self.rowsInPlaceOfObject(of: entry) {
                return try await body(rows).value
            }
            return try outcome.get()
        }
        throw .claimedByOther
    }

    /// Number of attempts to read records that are moved during each attempt.
    private static let readAttempts = 3

    /// Whether fewer rows were returned than the ledger's count promises. Either rows were moved or deleted during the
    /// read, or the rows reached ``ImportConfiguration/answerBytes``. Always `false` for an object.
    private func isShort(_ records: [JSONText], of entry: Import, from offset: Int, limit: Int) -> Bool {
        guard entry.location == nil, let total = entry.totalRecords, offset < total else { return false }
        return records.count < min(limit, total - offset)
    }

    /// The records from number `offset` on, at most `limit`, read from the storage that this ledger entry names. A
    /// move during the read is not detected.
    func records(of entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        guard let location = entry.location else { return try await self.rows(of: entry, from: offset, limit: limit) }
        let pieces = try self.pieces(of: entry)
        guard let index = try await self.index(of: entry) else {
            return try await self.scan(entry, from: offset, limit: limit)
        }
        let (end, isOver) = offset.addingReportingOverflow(limit)
        let wanted = offset..<(isOver ? .max : end)
        guard let run = index.run(containing: wanted, maximumBytes: self.configuration.answerBytes) else { return [] }
        let text = try await self.text(of: run, location: location, entry: entry, index: index, pieces: pieces)
        let skipped = offset - run.firstRecord
        return DocumentLines.records(in: text).dropFirst(skipped).prefix(limit).map { JSONText(unchecked: Array(text[$0])) }
    }

    /// Reads the rows from record number `offset` on until there are `limit` of them, or
    /// ``ImportConfiguration/answerBytes`` are reached.
    private func rows(of entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        let pieces = try self.pieces(of: entry)
        var all: [JSONText] = []
        var bytes = 0
        // One call of the record store returns at most about 1 MiB of rows.
        while all.count < limit, bytes < self.configuration.answerBytes {
            var some: [JSONText]
            do throws(StoreError) {
                some = try await self.records.records(of: entry.id, offset: offset + all.count, limit: limit - all.count)
            } catch {
                throw .store(error)
            }
            if some.isEmpty { break }
            if let pieces { some = try pieces.openRows(some, from: offset + all.count, total: entry.totalRecords ?? 0) }
            bytes += some.reduce(0) { $0 + $1.bytes.count }
            all += some
        }
        return all
    }

    /// Downloads a run of gzip members with one ranged read, decrypts and decompresses it.
    /// - Parameter pieces: the decryption of the object; `nil` if it is not encrypted.
    /// - Throws: ``ImportError/damaged(_:)`` if the result does not have the size that the index states.
    func text(
        of run: GzipMemberIndex.Run, location: String, entry: Import, index: GzipMemberIndex, pieces: ImportPieces?
    ) async throws(ImportError) -> [UInt8] {
        let download = try await self.download(location, of: entry, range: run.bytes)
        var compressed: [UInt8] = []
        compressed.reserveCapacity(run.bytes.count)
        do throws(ObjectError) { while let part = try await download.next() { compressed += part } } catch {
            throw .objects(error)
        }
        if let pieces { compressed = try pieces.openRun(compressed, run, index) }
        let uncompressedBytes = index.members[run.members].reduce(0) { $0 + $1.uncompressed }
        return try await self.codec.text(of: compressed, uncompressedBytes: uncompressedBytes)
    }

    /// Finds the records from number `offset` on, at most `limit`, in an object without a gzip member index: reads the
    /// object from its start and skips the records before `offset`.
    private func scan(_ entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        let pages = RecordPageIterator(try await self.document(of: entry), limits: .stored)
        var found: [JSONText] = []
        var (before, bytes) = (0, 0)
        while found.count < limit, bytes < self.configuration.answerBytes, let page = try await pages.next() {
            for range in page.records.dropFirst(max(0, offset - before)).prefix(limit - found.count) {
                guard bytes < self.configuration.answerBytes else { break }
                found.append(JSONText(unchecked: Array(page.text[range])))
                bytes += range.count
            }
            before += page.records.count
        }
        return found
    }

    /// The first ``Import/sampleRecords`` records as a JSON array, from the cache if possible. If the object store
    /// fails, the sample rows of the ledger, which are at most ``Import/sampleRows``.
    public func sample(_ id: ImportID, account: String) async throws(ImportError) -> JSONText {
        let entry = try await self.storedEntry(id, account: account)
        let cache = self.cache(for: .sample, of: entry)
        if let cached = await cache.value(.sample, of: id), cached.isArray {
            self.counters.add(1, to: .cacheImportSampleHit)
            return cached
        }
        self.counters.add(1, to: .cacheImportSampleMiss)
        let records: [JSONText]
        do throws(ImportError) {
            records = try await self.records(id, account: account, offset: 0, limit: Import.sampleRecords).records
        } catch {
            switch error {
            case .objects, .storeNotConfigured: break
            default: throw error
            }
            // The client gets the few sample rows of the ledger instead of an error. They are not cached, so that the
            // next request tries the object store again.
            let rows: [JSONText]
            do throws(StoreError) { rows = try await self.ledger.samples(of: id) } catch { throw .store(error) }
            guard !rows.isEmpty else { throw error }
            guard let pieces = try self.pieces(of: entry) else { return .array(of: rows) }
            // If the ledger's location contradicts the encryption, the rows are not sample rows of an object.
            guard let records = try? pieces.openSamples(rows) else { throw error }
            return .array(of: records)
        }
        let sample = JSONText.array(of: records)
        cache.put(sample, .sample, of: id, seconds: self.configuration.cacheSeconds)
        return sample
    }

    /// A link with which any client can download the object without a token, for
    /// ``ImportConfiguration/downloadSeconds``.
    /// - Throws: ``ImportError/linksUnsupported`` if the records are rows, or the object store has no download links.
    ///   ``ImportError/linkEncrypted`` if the object is encrypted: the client could not read it.
    public func link(_ id: ImportID, account: String) async throws(ImportError) -> String {
        let entry = try await self.storedEntry(id, account: account)
        guard let location = entry.location, let objects = try? self.objectStore(of: entry) else { throw .linksUnsupported }
        guard entry.encryption == nil else { throw .linkEncrypted }
        let link: String?
        do throws(ObjectError) {
            link = try objects.presign(
                location, seconds: self.configuration.downloadSeconds, fileName: entry.downloadName)
        } catch {
            throw .objects(error)
        }
        guard let link else { throw .linksUnsupported }
        return link
    }

    // MARK: Private

    /// The gzip member index of the import's object; `nil` if the records are rows, or the legacy service wrote the
    /// object. The ledger's index is not that of the object if another program has changed the location since. Index and
    /// encryption are always written together, and the header of an encrypted object shows whether they are its own.
    func index(of entry: Import) async throws(ImportError) -> GzipMemberIndex? {
        guard let location = entry.location else { return nil }
        let isOfHub = entry.storage?.isOfHub(for: location) ?? false
        guard isOfHub || entry.encryption?.isKnown == true else { return nil }
        let index: GzipMemberIndex?
        do throws(StoreError) { index = try await self.ledger.index(of: entry.id) } catch { throw .store(error) }
        return entry.encryption != nil || index?.recordCount == entry.storage?.recordCount ? index : nil
    }

    /// Starts the download of an import's object.
    /// - Parameter range: the bytes to read; `nil` for all.
    /// - Throws: ``ImportError/damaged(_:)`` if the object does not exist, or if the location cannot be an object's key.
    func download(_ location: String, of entry: Import, range: Range<Int>?) async throws(ImportError) -> any ObjectDownload {
        let objects = try self.objectStore(of: entry)
        do throws(ObjectError) {
            return try await objects.download(location, range: range)
        } catch .notFound {
            throw .damaged("The import's object \(location) does not exist in the object store.")
        } catch .invalid(let reason) {
            throw .damaged("The import's object \(location) cannot be read: \(reason)")
        } catch {
            throw .objects(error)
        }
    }

    /// The error for an encrypted object without a gzip member index: its pieces cannot be found.
    static let noIndex = ImportError.damaged("The import's object is encrypted, but the ledger has no index of its pieces.")
}

extension Import {
    /// File name for downloads, with the ending `.json.gz`. Its stem is the part of the uploaded file's name before the
    /// first period, without its path and without characters other than ASCII letters, digits and `._- `, at most
    /// 100 characters. If nothing remains, the stem is the import's id.
    public var downloadName: String {
        let last = self.fileName?.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last.map(String.init) ?? ""
        let safe = last.unicodeScalars.filter { scalar in
            scalar.value < 0x80
                && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil
                    || "._- ".unicodeScalars.contains(scalar))
        }
        var stem = String(String.UnicodeScalarView(safe)).split(separator: ".").first.map(String.init) ?? ""
        stem = String(stem.prefix(100))
        return (stem.isEmpty ? self.id.rawValue : stem) + ".json.gz"
    }
}
