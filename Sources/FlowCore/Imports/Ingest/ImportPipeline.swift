/// Reads the records of a body, page by page, into a sink. Used by one task.
struct ImportPipeline {
    /// What came of it.
    struct Result {
        var storage: StorageMetadata
        var index: GzipMemberIndex?
        var summary: JSONText
        /// The first records.
        var sample: [JSONText]
        var requestHash: String?
    }

    let body: ImportBody
    let sink: any ImportSink
    let codec: any ImportCodec
    let configuration: ImportConfiguration
    /// Told of bytes of the body and records so far.
    let progress: (_ bytes: Int, _ records: Int) -> Void

    func run(format: ImportFormat?) async throws -> Result {
        var reader = RecordReader(format: format, limits: self.configuration.limits)
        let content = self.codec.makeHash()
        var sample: [JSONText] = []
        var (sampleBytes, unpacked) = (0, 0)
        var page = RecordPage(continuing: false, capacity: self.configuration.memberBytes)
        func send(_ full: RecordPage) async throws {
            full.hash(into: content)
            for range in full.records.prefix(Import.sampleRecords - sample.count) {
                guard sample.count < Import.sampleRows || sampleBytes < self.configuration.answerBytes else { break }
                sample.append(JSONText(unchecked: Array(full.text[range])))
                sampleBytes += range.count
            }
            unpacked += full.text.count
            try self.check(unpacked)
            try await self.sink.take(full)
        }

        do {
            while let bytes = try await self.body.next() {
                var position = 0
                while position < bytes.count {
                    position = try reader.read(bytes.span, from: position, into: &page, target: self.configuration.memberBytes)
                    guard position < bytes.count || page.isFull(self.configuration.memberBytes) else { continue }
                    try await send(page)
                    page = RecordPage(continuing: true, capacity: self.configuration.memberBytes)
                }
                self.progress(self.body.packedBytes, reader.recordCount)
            }
            try reader.finish(into: &page)
        } catch let error as ImportInputError {
            throw ImportError.input(error)
        }
        page.close()
        try await send(page)
        let stored = try await self.sink.finish()
        self.progress(self.body.packedBytes, reader.recordCount)
        return Result(
            storage: StorageMetadata(
                bucket: stored.bucket, sizeBytes: stored.storedBytes, originalSizeBytes: unpacked,
                recordCount: reader.recordCount, dataHash: stored.dataHash, contentHash: content.finish()),
            index: stored.index, summary: reader.summary.json, sample: sample, requestHash: self.body.requestHash())
    }
}

extension ImportPipeline {
    /// The document has its bounds, too: rows of many columns and little in them become far more than they were.
    private func check(_ bytes: Int) throws(ImportError) {
        if bytes > self.configuration.maximumBytes { throw .tooLarge(limit: self.configuration.maximumBytes) }
        if bytes > ImportBody.freeBytes, bytes / max(1, self.body.unpackedBytes) > self.configuration.maximumRatio {
            throw .suspiciousRatio(limit: self.configuration.maximumRatio)
        }
    }
}

extension RecordPage {
    /// Whether it has so many bytes and ends with a whole record.
    func isFull(_ target: Int) -> Bool { self.text.count >= target && self.records.last?.upperBound == self.text.count }

    /// The records, each with a line feed behind it: what `content_hash` is made of.
    func hash(into hash: any IncrementalHash, upTo limit: Int = .max) {
        let lineFeed: [UInt8] = [UInt8(ascii: "\n")]
        self.text.withUnsafeBytes { text in
            lineFeed.withUnsafeBytes { end in
                for range in self.records.prefix(limit) {
                    hash.update(UnsafeRawBufferPointer(rebasing: text[range]))
                    hash.update(end)
                }
            }
        }
    }
}
