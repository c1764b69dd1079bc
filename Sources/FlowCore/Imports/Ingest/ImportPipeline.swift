/// Parses the records of a body and writes them to a sink, page by page. Used by one task.
struct ImportPipeline {
    /// The result of a complete run.
    struct Result {
        var storage: StorageMetadata
        /// The gzip member index of the object; `nil` if the records are rows.
        var index: GzipMemberIndex?
        /// Counts of the records' fields, see ``FieldSummary/json``.
        var summary: JSONText
        /// The first ``Import/sampleRecords`` records, or fewer if they exceed ``ImportConfiguration/answerBytes``.
        var sample: [JSONText]
        /// SHA-256 of the body as sent, in hexadecimal; `nil` without an idempotency key.
        var requestHash: String?
        /// The encryption of what was stored; `nil` if it is not encrypted.
        var pieces: ImportPieces?
    }

    let body: ImportBody
    let sink: any ImportSink
    let codec: any ImportCodec
    let configuration: ImportConfiguration
    /// Called with the number of bytes of the body as sent and the number of records that were read so far.
    let progress: (_ bytes: Int, _ records: Int) -> Void

    /// Reads the whole body, writes its records to the sink, and finishes the sink. After an error the caller must
    /// abort the sink.
    /// - Parameters:
    ///   - format: format of the body; `nil` to detect it.
    ///   - checkAccess: called before the sink is finished; may throw.
    /// - Throws: ``ImportError``, or the error of the body or of `checkAccess`.
    func run(format: ImportFormat?, checkAccess: () throws -> Void = {}) async throws -> Result {
        var reader = RecordReader(format: format, limits: self.configuration.limits)
        let content = self.codec.makeHash()
        var sample: [JSONText] = []
        var (sampleBytes, documentBytes) = (0, 0)
        var page = RecordPage(continuing: false, capacity: self.configuration.memberBytes)
        /// Adds a complete page to the hash and the sample, and writes it to the sink.
        func send(_ full: RecordPage) async throws {
            full.hash(into: content)
            for range in full.records.prefix(Import.sampleRecords - sample.count) {
                guard sample.count < Import.sampleRows || sampleBytes < self.configuration.answerBytes else { break }
                sample.append(JSONText(unchecked: Array(full.text[range])))
                sampleBytes += range.count
            }
            documentBytes += full.text.count
            try self.check(documentBytes)
            try await self.sink.write(full)
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
                self.progress(self.body.compressedBytes, reader.recordCount)
            }
            try reader.finish(into: &page)
        } catch let error as ImportInputError {
            throw ImportError.input(error)
        }
        page.close()
        try await send(page)
        try checkAccess()
        let stored = try await self.sink.finish()
        self.progress(self.body.compressedBytes, reader.recordCount)
        return Result(
            storage: StorageMetadata(
                bucket: stored.bucket, sizeBytes: stored.storedBytes, originalSizeBytes: documentBytes,
                recordCount: reader.recordCount, dataHash: stored.dataHash, contentHash: content.finish()),
            index: stored.index, summary: reader.summary.json, sample: sample, requestHash: self.body.requestHash(),
            pieces: self.sink.pieces)
    }
}

extension ImportPipeline {
    /// Checks size and ratio of the document. Each CSV record repeats the column names, so the document can be much
    /// larger than the body.
    /// - Parameter bytes: size of the document so far.
    private func check(_ bytes: Int) throws(ImportError) {
        if bytes > self.configuration.maximumBytes { throw .tooLarge(limit: self.configuration.maximumBytes) }
        if bytes > ImportBody.ratioCheckThreshold, bytes / max(1, self.body.uncompressedBytes) > self.configuration.maximumRatio {
            throw .suspiciousRatio(limit: self.configuration.maximumRatio)
        }
    }
}

extension RecordPage {
    /// Whether the page has at least `target` bytes and ends with a whole record.
    func isFull(_ target: Int) -> Bool { self.text.count >= target && self.records.last?.upperBound == self.text.count }

    /// Adds the records, each followed by a line feed, to a hash: this is how `content_hash` is calculated.
    /// - Parameter limit: maximum number of records.
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
