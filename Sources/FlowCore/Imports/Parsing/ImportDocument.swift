/// An import's document as an uncompressed stream of chunks: `[`, one record per line, `]`. Used by one task.
public final class ImportDocument {
    private enum Source {
        /// An object with a gzip member index.
        case members(any ObjectDownload, GzipMemberIndex)
        /// An object of the legacy service: gzip data of any structure.
        case stream(any ObjectDownload, any StreamDecompressor)
        case rows(any RecordStore, ImportID)
    }

    private static let rowsPerPage = 1_000

    private let source: Source
    private let codec: any ImportCodec
    private var compressed: [UInt8] = []
    /// Number of the next gzip member.
    private var position = 0
    /// Bookmark of the next batch of rows, and whether any row was read.
    private var rows: (bookmark: RecordBookmark?, hasBegun: Bool) = (nil, false)
    private var isComplete = false
    /// Number of rows still expected at least, if it is known.
    private var missingRows: Int?

    init(_ download: any ObjectDownload, index: GzipMemberIndex?, codec: any ImportCodec) {
        self.source = index.map { .members(download, $0) } ?? .stream(download, codec.makeDecompressor())
        self.codec = codec
    }

    /// - Parameter count: minimum number of rows; fewer throw ``ImportError/damaged(_:)``.
    init(rows records: any RecordStore, of id: ImportID, atLeast count: Int? = nil, codec: any ImportCodec) {
        self.source = .rows(records, id)
        self.codec = codec
        self.missingRows = count
    }

    /// Size of the whole document in bytes, if it is known in advance: for an object with an index. Rows may be added
    /// during the read.
    var bytes: Int? {
        if case .members(_, let index) = self.source { index.uncompressedBytes } else { nil }
    }

    /// The next chunk, usually up to about 1 MiB; `nil` at the end, which is reached only if everything was valid.
    public func next() async throws(ImportError) -> [UInt8]? {
        if self.isComplete { return nil }
        switch self.source {
        case .members(let download, let index): return try await self.nextMember(download, index)
        case .stream(let download, let decompressor): return try await self.nextChunk(download, decompressor)
        case .rows(let records, let id): return try await self.nextRows(records, id)
        }
    }

    private func nextMember(_ download: any ObjectDownload, _ index: GzipMemberIndex) async throws(ImportError) -> [UInt8]? {
        guard self.position < index.members.count else {
            guard self.compressed.isEmpty, try await Self.part(download) == nil else {
                throw .damaged("The object is longer than its index says.")
            }
            self.isComplete = true
            return nil
        }
        let member = index.members[self.position]
        while self.compressed.count < member.compressed {
            guard let part = try await Self.part(download) else { throw .damaged("The object is shorter than its index says.") }
            self.compressed += part
        }
        let bytes = Array(self.compressed.prefix(member.compressed))
        self.compressed.removeFirst(member.compressed)
        self.position += 1
        return try await self.codec.text(of: bytes, uncompressedBytes: member.uncompressed)
    }

    private func nextChunk(_ download: any ObjectDownload, _ decompressor: any StreamDecompressor) async throws(ImportError)
        -> [UInt8]?
    {
        while true {
            var input = self.compressed[...]
            let bytes: [UInt8]
            do throws(CodecError) { bytes = try decompressor.decompress(&input) } catch {
                throw .damaged("The object is not valid gzip.")
            }
            self.compressed = Array(input)
            if !bytes.isEmpty { return bytes }
            guard self.compressed.isEmpty else { continue }
            guard let part = try await Self.part(download) else {
                guard decompressor.isAtEnd else { throw .damaged("The object is truncated.") }
                self.isComplete = true
                return nil
            }
            self.compressed = part
        }
    }

    private func nextRows(_ records: any RecordStore, _ id: ImportID) async throws(ImportError) -> [UInt8]? {
        let slice: RecordSlice
        do throws(StoreError) {
            slice = try await records.records(of: id, after: self.rows.bookmark, limit: Self.rowsPerPage)
        } catch {
            throw .store(error)
        }
        var page = RecordPage(continuing: self.rows.hasBegun, capacity: 65_536)
        for row in slice.records { page.append(row) }
        self.rows = (slice.next, self.rows.hasBegun || !slice.records.isEmpty)
        self.missingRows = self.missingRows.map { $0 - slice.records.count }
        if slice.next == nil {
            guard self.missingRows ?? 0 <= 0 else {
                throw .damaged("Rows were moved or deleted during the read.")
            }
            page.close()
            self.isComplete = true
        }
        return page.text
    }

    private static func part(_ download: any ObjectDownload) async throws(ImportError) -> [UInt8]? {
        do throws(ObjectError) { return try await download.next() } catch { throw .objects(error) }
    }
}

extension ImportCodec {
    /// The decompressed text of one or more gzip members.
    /// - Throws: ``ImportError/damaged(_:)`` if they do not have this uncompressed size.
    func text(of members: [UInt8], uncompressedBytes: Int) async throws(ImportError) -> [UInt8] {
        let text: [UInt8]
        do throws(CodecError) { text = try await self.decompress(members, limit: uncompressedBytes) } catch {
            throw .damaged("The object does not match its index.")
        }
        guard text.count == uncompressedBytes else { throw .damaged("The object does not match its index.") }
        return text
    }
}
