extension ImportService {
    /// The schema analysis of an import as JSON: statistics of its fields over all records, or over a sample spread
    /// evenly over a large import. Results are cached.
    public func analysis(_ id: ImportID, account: String) async throws(ImportError) -> JSONText {
        let entry = try await self.entry(id, account: account)
        guard entry.status == .stored else { throw .notStored(entry.status) }
        let cache = self.cache(for: .analysis, of: entry)
        if let cached = await cache.value(.analysis, of: id), cached.isObject {
            self.counters.add(1, to: .cacheSchemaAnalysisHit)
            return cached
        }
        self.counters.add(1, to: .cacheSchemaAnalysisMiss)
        // Concurrent requests for the same import share one analysis.
        let result = await self.analyses.value(for: id) {
            await withTaskExecutorPreference(self.executor) {
                do throws(ImportError) {
                    let analysis = try await self.retryingIfMoved(id, account: account) { entry throws(ImportError) in
                        (value: (json: try await self.analyse(entry), entry: entry), isSuspect: false)
                    }
                    self.cache(for: .analysis, of: analysis.entry)
                        .put(analysis.json, .analysis, of: id, seconds: self.configuration.cacheSeconds)
                    return Result<JSONText, ImportError>.success(analysis.json)
                } catch {
                    return .failure(error)
                }
            }
        }
        return try result.get()
    }

    /// Number of gzip members that are read concurrently.
    private static let concurrentReads = 8

    /// Analyzes all records of an import, or a sample if the ledger counts at least
    /// ``ImportConfiguration/analysisRecords`` records. The sample is spread evenly over the rows or the object. For an
    /// object without a gzip member index, the sample is the first records.
    private func analyse(_ entry: Import) async throws(ImportError) -> JSONText {
        var schema = SchemaAnalysis(limits: self.configuration.schema)
        let total = entry.totalRecords
        var isSample = true
        if let total, total >= self.configuration.analysisRecords {
            if entry.location == nil {
                try await self.addRows(of: entry, total: total, to: &schema)
            } else if let index = try await self.index(of: entry) {
                try await self.addMembers(of: entry, index, to: &schema)
            } else {
                try await self.addAll(of: entry, upTo: self.configuration.sampleRecords, to: &schema)
            }
        } else {
            isSample = false
            try await self.addAll(of: entry, upTo: .max, to: &schema)
        }
        let key = self.codec.makeHash()
        schema.signature.withUnsafeBytes { key.update($0) }
        let name = key.finish()
        let json = schema.json(totalRecords: total ?? schema.recordCount, scope: isSample ? .sample : .full)
        return .object { writer in
            writer.rawMembers(of: json)
            writer.key("pattern_key")
            writer.value(name)
        }
    }

    /// Adds a sample of an object's records to the analysis, spread evenly over the object. Each chosen gzip member
    /// needs one ranged read.
    private func addMembers(of entry: Import, _ index: GzipMemberIndex, to schema: inout SchemaAnalysis) async throws(ImportError)
    {
        guard let location = entry.location else { return }
        let pieces = try self.pieces(of: entry)
        // If gzip members are large, read fewer of them, so that together they stay within `sampleBytes`.
        let largest = index.members.reduce(1) { max($0, $1.uncompressed) }
        let sample = EvenlySpacedSample(
            of: index, records: self.configuration.sampleRecords,
            members: max(1, min(self.configuration.sampleMembers, self.configuration.sampleBytes / largest)))
        // Each read is a round trip to the object store, so several members are read concurrently. Their records are
        // added in order, so that the result is reproducible.
        for start in stride(from: 0, to: sample.parts.count, by: Self.concurrentReads) {
            let parts = sample.parts[start..<min(start + Self.concurrentReads, sample.parts.count)]
            let reads = parts.map { part in
                Task { () -> Result<[UInt8], ImportError> in
                    do throws(ImportError) {
                        let run = index.run(of: part.member)
                        return .success(
                            try await self.text(of: run, location: location, entry: entry, index: index, pieces: pieces))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            for (part, read) in zip(parts, reads) {
                let text = try await read.value.get()
                let records = DocumentLines.records(in: text)
                guard records.count == part.records else {
                    throw .damaged(
                        "The import's object does not match its gzip member index: member \(part.member) has "
                            + "\(records.count) records instead of \(part.records).")
                }
                for position in part.positions { schema.add(text, records[position]) }
            }
        }
    }

    /// Adds a sample of rows to the analysis: groups of consecutive rows that start at evenly spaced offsets.
    /// - Parameter total: number of the import's records by the ledger.
    private func addRows(of entry: Import, total: Int, to schema: inout SchemaAnalysis) async throws(ImportError) {
        let groups = min(self.configuration.sampleMembers, total)
        let each = max(1, self.configuration.sampleRecords / groups)
        for group in 0..<groups {
            let offset = (total - each) / max(1, groups - 1) * group
            let records = try await self.records(of: entry, from: max(0, offset), limit: each)
            guard !records.isEmpty else {
                throw .damaged(
                    "The import has no rows from record \(max(0, offset)) on, but \(total) records by the ledger: rows were "
                        + "deleted, or moved during the read.")
            }
            for record in records { schema.add(record) }
        }
    }

    /// Adds the import's first records, at most `count`, to the analysis.
    private func addAll(of entry: Import, upTo count: Int, to schema: inout SchemaAnalysis) async throws(ImportError) {
        let pages = RecordPageIterator(try await self.document(of: entry), limits: .stored)
        while schema.recordCount < count, let page = try await pages.next() {
            for range in page.records.prefix(count - schema.recordCount) { schema.add(page.text, range) }
        }
    }
}
