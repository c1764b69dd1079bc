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
    /// - Returns: with its bytes, if they are known beforehand.
    public func document(_ id: ImportID, account: String) async throws(ImportError) -> (ImportDocument, bytes: Int?) {
        let entry = try await self.storedEntry(id, account: account)
        return (try await self.document(of: entry), entry.storage?.originalSizeBytes)
    }

    public func document(of entry: Import) async throws(ImportError) -> ImportDocument {
        guard let location = entry.location else { return ImportDocument(rows: self.records, of: entry.id, codec: self.codec) }
        let index = try await self.index(of: entry)
        return ImportDocument(try await self.download(location, of: entry, range: nil), index: index, codec: self.codec)
    }

    /// The object as it lies there: gzip. It comes to its end only if it is what was stored.
    /// - Returns: `nil` where the records are rows.
    public func packed(_ id: ImportID, account: String) async throws(ImportError) -> (any ObjectDownload)? {
        let entry = try await self.storedEntry(id, account: account)
        guard let location = entry.location else { return nil }
        let download = try await self.download(location, of: entry, range: nil)
        return entry.storage?.dataHash.map { VerifiedDownload(download, hash: $0, self.codec) } ?? download
    }

    /// Some records by their numbers: one ranged read of the object.
    public func records(
        _ id: ImportID, account: String, offset: Int, limit: Int
    ) async throws(ImportError) -> (records: [JSONText], total: Int?) {
        let entry = try await self.storedEntry(id, account: account)
        return (try await self.records(of: entry, from: offset, limit: limit), entry.totalRecords)
    }

    func records(of entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        guard let location = entry.location else {
            do throws(StoreError) {
                var all: [JSONText] = []
                // The store gives some at a time.
                while all.count < limit {
                    let some = try await self.records.records(of: entry.id, offset: offset + all.count, limit: limit - all.count)
                    if some.isEmpty { break }
                    all += some
                }
                return all
            } catch {
                throw .store(error)
            }
        }
        guard let index = try await self.index(of: entry) else {
            return try await self.scan(entry, from: offset, limit: limit)
        }
        let (end, isOver) = offset.addingReportingOverflow(limit)
        guard let run = index.run(holding: offset..<(isOver ? .max : end)) else { return [] }
        let text = try await self.text(of: run, location: location, entry: entry, index: index)
        let skipped = offset - run.firstRecord
        return DocumentLines.records(in: text).dropFirst(skipped).prefix(limit).map { JSONText(unchecked: Array(text[$0])) }
    }

    func text(of run: MemberIndex.Run, location: String, entry: Import, index: MemberIndex) async throws(ImportError) -> [UInt8] {
        let download = try await self.download(location, of: entry, range: run.bytes)
        var packed: [UInt8] = []
        packed.reserveCapacity(run.bytes.count)
        do throws(ObjectError) { while let part = try await download.next() { packed += part } } catch { throw .objects(error) }
        let unpacked = index.members[run.members].reduce(0) { $0 + $1.unpacked }
        return try await self.codec.text(of: packed, unpacked: unpacked)
    }

    /// The way through an object without an index: everything before is unpacked and passed over.
    private func scan(_ entry: Import, from offset: Int, limit: Int) async throws(ImportError) -> [JSONText] {
        let walk = RecordWalk(try await self.document(of: entry), limits: self.configuration.limits)
        var found: [JSONText] = []
        // Of the page's first record.
        var number = 0
        while found.count < limit, let page = try await walk.next() {
            for range in page.records.dropFirst(max(0, offset - number)).prefix(limit - found.count) {
                found.append(JSONText(unchecked: Array(page.text[range])))
            }
            number += page.records.count
        }
        return found
    }

    /// The first records, from where they are at hand.
    public func sample(_ id: ImportID, account: String) async throws(ImportError) -> JSONText {
        let entry = try await self.storedEntry(id, account: account)
        if let cached = await self.cache.value(.sample, of: id), cached.isArray {
            self.counters.add(1, to: .cacheImportSampleHit)
            return cached
        }
        self.counters.add(1, to: .cacheImportSampleMiss)
        let records: [JSONText]
        do throws(ImportError) {
            records = try await self.records(of: entry, from: 0, limit: Import.sampleRecords)
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

    func index(of entry: Import) async throws(ImportError) -> MemberIndex? {
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
