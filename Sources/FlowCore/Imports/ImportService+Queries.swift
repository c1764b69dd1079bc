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

    public func list(_ query: ImportQuery) async throws(ImportError) -> ImportList {
        do throws(StoreError) { return try await self.ledger.list(query) } catch { throw .store(error) }
    }

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

    public func document(of entry: Import) async throws(ImportError) -> ImportDocument {
        guard let location = entry.location else {
            // If a hub counted the rows, a lower number means that they were moved or deleted during the read.
            let isCounted = entry.storage.map { !$0.contentHash.isEmpty } ?? false
            return ImportDocument(
                rows: self.records, of: entry.id, atLeast: isCounted ? entry.totalRecords : nil, codec: self.codec)
        }
        let index = try await self.index(of: entry)
        return ImportDocument(try await self.download(location, of: entry, range: nil), index: index, codec: self.codec)
    }

    /// The stored object as it is, compressed. If the ledger has its hash, the download ends without an error only if
    /// the bytes match it.
    /// - Returns: `nil` if the records are rows.
    public func storedObject(_ id: ImportID, account: String) async throws(ImportError) -> (any ObjectDownload)? {
        try await self.retryingIfMoved(id, account: account) { entry throws(ImportError) in
            guard let location = entry.location else { return (value: nil, isSuspect: false) }
            let download = try await self.download(location, of: entry, range: nil)
            let verified = entry.storage?.dataHash.map { VerifiedDownload(download, hash: $0, self.codec) }
            return (value: verified ?? download, isSuspect: false)
        }
    }

    /// Consecutive records from a number on, counted from 0. If the object has an index, they need one ranged read.
    /// Fewer than `limit` are returned at the end of the import, or if they reach
    /// ``ImportConfiguration/answerBytes``. If any record exists at `offset`, at least one is returned.
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
    /// - Parameter body: the read. It returns its result and whether a concurrent move may have made it incomplete;
    ///   for the same reason it may throw ``ImportError/damaged(_:)``.
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
            if now.location == entry.location, now.provider == entry.provider { return try outcome.get() }
            entry = now
        }
        throw .claimedByOther
    }

    private static let readAttempts = 3

    /// Whether fewer rows were returned than the ledger's count promises: they were moved or deleted, or they are
    /// large.
    private func isShort(_ records: [JSONText], of entry: Import, from offset: Int, limit: Int) -> Bool {
        guard entry.location == nil, let total = entry.totalRecords, offset < total else { return false }
        return records.count < min(limit, total - offset)
    }

    func records(of entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        guard let location = entry.location else { return try await self.rows(of: entry, from: offset, limit: limit) }
        guard let index = try await self.index(of: entry) else {
            return try await self.scan(entry, from: offset, limit: limit)
        }
        let (end, isOver) = offset.addingReportingOverflow(limit)
        let wanted = offset..<(isOver ? .max : end)
        guard let run = index.run(containing: wanted, maximumBytes: self.configuration.answerBytes) else { return [] }
        let text = try await self.text(of: run, location: location, entry: entry, index: index)
        let skipped = offset - run.firstRecord
        return DocumentLines.records(in: text).dropFirst(skipped).prefix(limit).map { JSONText(unchecked: Array(text[$0])) }
    }

    private func rows(of entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        var all: [JSONText] = []
        var bytes = 0
        // The store returns rows in batches of limited size.
        while all.count < limit, bytes < self.configuration.answerBytes {
            let some: [JSONText]
            do throws(StoreError) {
                some = try await self.records.records(of: entry.id, offset: offset + all.count, limit: limit - all.count)
            } catch {
                throw .store(error)
            }
            if some.isEmpty { break }
            bytes += some.reduce(0) { $0 + $1.bytes.count }
            all += some
        }
        return all
    }

    func text(of run: GzipMemberIndex.Run, location: String, entry: Import, index: GzipMemberIndex) async throws(ImportError)
        -> [UInt8]
    {
        let download = try await self.download(location, of: entry, range: run.bytes)
        var compressed: [UInt8] = []
        compressed.reserveCapacity(run.bytes.count)
        do throws(ObjectError) { while let part = try await download.next() { compressed += part } } catch {
            throw .objects(error)
        }
        let uncompressedBytes = index.members[run.members].reduce(0) { $0 + $1.uncompressed }
        return try await self.codec.text(of: compressed, uncompressedBytes: uncompressedBytes)
    }

    /// Finds records in an object without an index: all records before them are decompressed and skipped.
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

    /// The first records as a JSON array, from the cache if possible. If the object store fails, the sample rows of
    /// the ledger are returned.
    public func sample(_ id: ImportID, account: String) async throws(ImportError) -> JSONText {
        _ = try await self.storedEntry(id, account: account)
        if let cached = await self.cache.value(.sample, of: id), cached.isArray {
            self.counters.add(1, to: .cacheImportSampleHit)
            return cached
        }
        self.counters.add(1, to: .cacheImportSampleMiss)
        let records: [JSONText]
        do throws(ImportError) {
            records = try await self.records(id, account: account, offset: 0, limit: Import.sampleRecords).records
        } catch .objects(let error) {
            // The few sample rows of the ledger are better than an error.
            let rows: [JSONText]
            do throws(StoreError) { rows = try await self.ledger.samples(of: id) } catch { throw .store(error) }
            guard !rows.isEmpty else { throw .objects(error) }
            return .array(of: rows)
        }
        let sample = JSONText.array(of: records)
        self.cache.put(sample, .sample, of: id, seconds: self.configuration.cacheSeconds)
        return sample
    }

    /// A link with which any client can download the object without a token, for
    /// ``ImportConfiguration/downloadSeconds``.
    /// - Throws: ``ImportError/linksUnsupported`` if there are no such links.
    public func link(_ id: ImportID, account: String) async throws(ImportError) -> String {
        let entry = try await self.storedEntry(id, account: account)
        guard let location = entry.location, let objects = self.objects, objects.provider == entry.provider else {
            throw .linksUnsupported
        }
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

    func index(of entry: Import) async throws(ImportError) -> GzipMemberIndex? {
        do throws(StoreError) { return try await self.ledger.index(of: entry.id) } catch { throw .store(error) }
    }

    func download(_ location: String, of entry: Import, range: Range<Int>?) async throws(ImportError) -> any ObjectDownload {
        guard let objects = self.objects, objects.provider == entry.provider else {
            throw .objects(.rejected("the import is stored in \(entry.provider), which is not configured"))
        }
        do throws(ObjectError) {
            return try await objects.download(location, range: range)
        } catch .notFound {
            throw .damaged("The import's object does not exist.")
        } catch {
            throw .objects(error)
        }
    }
}

extension Import {
    /// File name for downloads: the part of the uploaded file's name before its first period, without its path and
    /// without characters other than ASCII letters, digits and `._- `, at most 100 characters. If nothing remains,
    /// the import's id.
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
