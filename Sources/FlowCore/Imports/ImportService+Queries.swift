extension ImportService {
    // MARK: Entries

    /// An import of this account, whatever has become of it; one that is being deleted is gone.
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

    /// The whole document, unpacked.
    /// - Returns: with its bytes, where they are certain beforehand.
    public func document(_ id: ImportID, account: String) async throws(ImportError) -> (ImportDocument, bytes: Int?) {
        try await self.reading(id, account: account) { entry throws(ImportError) in
            let document = try await self.document(of: entry)
            return (value: (document, document.bytes), isSuspect: false)
        }
    }

    public func document(of entry: Import) async throws(ImportError) -> ImportDocument {
        guard let location = entry.location else {
            // What a hub has counted is all there, or was moved while it was read.
            let isCounted = entry.storage.map { !$0.contentHash.isEmpty } ?? false
            return ImportDocument(
                rows: self.records, of: entry.id, atLeast: isCounted ? entry.totalRecords : nil, codec: self.codec)
        }
        let index = try await self.index(of: entry)
        return ImportDocument(try await self.download(location, of: entry, range: nil), index: index, codec: self.codec)
    }

    /// The object as it lies there: gzip. It comes to its end only if it is what was stored.
    /// - Returns: `nil` where the records are rows.
    public func packed(_ id: ImportID, account: String) async throws(ImportError) -> (any ObjectDownload)? {
        try await self.reading(id, account: account) { entry throws(ImportError) in
            guard let location = entry.location else { return (value: nil, isSuspect: false) }
            let download = try await self.download(location, of: entry, range: nil)
            let verified = entry.storage?.dataHash.map { VerifiedDownload(download, hash: $0, self.codec) }
            return (value: verified ?? download, isSuspect: false)
        }
    }

    /// Some records by their numbers: one ranged read of the object. They are fewer than asked for where the import ends, and where
    /// they are large: at most ``ImportConfiguration/answerBytes``, but at least one if there is one.
    public func records(
        _ id: ImportID, account: String, offset: Int, limit: Int
    ) async throws(ImportError) -> (records: [JSONText], total: Int?) {
        try await self.reading(id, account: account) { entry throws(ImportError) in
            let records = try await self.records(of: entry, from: offset, limit: limit)
            let isShort = self.isShort(records, of: entry, from: offset, limit: limit)
            return (value: (records, entry.totalRecords), isSuspect: isShort)
        }
    }

    /// Reads, and reads again if the records were moved meanwhile.
    /// - Parameter body: says of what it has read whether it may be so because they were.
    func reading<Value>(
        _ id: ImportID, account: String, _ body: (Import) async throws(ImportError) -> (value: Value, isSuspect: Bool)
    ) async throws(ImportError) -> Value {
        var entry = try await self.storedEntry(id, account: account)
        for _ in 0..<Self.readings {
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
        throw .held
    }

    private static let readings = 3

    /// Whether there should be more rows: they were moved, or somebody has removed them, or they are large.
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
        guard let run = index.run(holding: wanted, upTo: self.configuration.answerBytes) else { return [] }
        let text = try await self.text(of: run, location: location, entry: entry, index: index)
        let skipped = offset - run.firstRecord
        return DocumentLines.records(in: text).dropFirst(skipped).prefix(limit).map { JSONText(unchecked: Array(text[$0])) }
    }

    private func rows(of entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        var all: [JSONText] = []
        var bytes = 0
        // The store gives some at a time.
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

    func text(of run: GzipMemberIndex.Run, location: String, entry: Import, index: GzipMemberIndex) async throws(ImportError) -> [UInt8] {
        let download = try await self.download(location, of: entry, range: run.bytes)
        var packed: [UInt8] = []
        packed.reserveCapacity(run.bytes.count)
        do throws(ObjectError) { while let part = try await download.next() { packed += part } } catch { throw .objects(error) }
        let unpacked = index.members[run.members].reduce(0) { $0 + $1.unpacked }
        return try await self.codec.text(of: packed, unpacked: unpacked)
    }

    /// The way through an object without an index: everything before is unpacked and passed over.
    private func scan(_ entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        let walk = RecordPageIterator(try await self.document(of: entry), limits: .stored)
        var found: [JSONText] = []
        var (before, bytes) = (0, 0)
        while found.count < limit, bytes < self.configuration.answerBytes, let page = try await walk.next() {
            for range in page.records.dropFirst(max(0, offset - before)).prefix(limit - found.count) {
                guard bytes < self.configuration.answerBytes else { break }
                found.append(JSONText(unchecked: Array(page.text[range])))
                bytes += range.count
            }
            before += page.records.count
        }
        return found
    }

    /// The first records, from where they are at hand.
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
            // What the ledger has of it is better than nothing.
            let rows: [JSONText]
            do throws(StoreError) { rows = try await self.ledger.samples(of: id) } catch { throw .store(error) }
            guard !rows.isEmpty else { throw .objects(error) }
            return .array(of: rows)
        }
        let sample = JSONText.array(of: records)
        self.cache.put(sample, .sample, of: id, seconds: self.configuration.cacheSeconds)
        return sample
    }

    /// A link by which anybody may fetch the object for a while.
    public func link(_ id: ImportID, account: String) async throws(ImportError) -> String {
        let entry = try await self.storedEntry(id, account: account)
        guard let location = entry.location, let objects = self.objects, objects.provider == entry.provider else { throw .noLink }
        let link: String?
        do throws(ObjectError) {
            link = try objects.presign(
                location, seconds: self.configuration.downloadSeconds, fileName: entry.downloadName)
        } catch {
            throw .objects(error)
        }
        guard let link else { throw .noLink }
        return link
    }

    // MARK: Private

    func index(of entry: Import) async throws(ImportError) -> GzipMemberIndex? {
        do throws(StoreError) { return try await self.ledger.index(of: entry.id) } catch { throw .store(error) }
    }

    func download(_ location: String, of entry: Import, range: Range<Int>?) async throws(ImportError) -> any ObjectDownload {
        guard let objects = self.objects, objects.provider == entry.provider else {
            throw .objects(.refused("the import's object is in a store that is not configured (\(entry.provider))"))
        }
        do throws(ObjectError) {
            return try await objects.download(location, range: range)
        } catch .notFound {
            throw .damaged("The import's object is not there any more.")
        } catch {
            throw .objects(error)
        }
    }
}

extension Import {
    /// What a browser calls the file: of the name that was handed in the harmless part.
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
