/// An import's document as an uncompressed stream of chunks: `[`, one record per line, `]`. Used by one task.
public final class ImportDocument {
    /// Where the records are.
    private enum Source {
        /// An object with a gzip member index.
        case members(any ObjectDownload, GzipMemberIndex)
        /// An object of the legacy service, without an index: gzip members may begin anywhere, also within a record.
        case stream(any ObjectDownload, any StreamDecompressor)
        /// Rows of the database.
        case rows(any RecordStore, ImportID)
    }

    /// Maximum number of rows per chunk.
    private static let rowsPerPage = 1_000

    private let source: Source
    /// The decryption of the records; `nil` if they are not encrypted.
    private let pieces: ImportPieces?
    private let codec: any ImportCodec
    /// Bytes of the object that were downloaded and not decompressed yet.
    private var compressed: [UInt8] = []
    /// Number of the next gzip member, counted from 0.
    private var position = 0
    /// Bookmark after which the next rows are read, `nil` for the start; and whether any row was read.
    private var rows: (bookmark: RecordBookmark?, hasBegun: Bool) = (nil, false)
    /// Whether the last chunk was returned.
    private var isComplete = false
    /// Minimum number of rows that must still follow; `nil` if any number is accepted.
    private var missingRows: Int?
    /// Number of rows that were read so far, and the number of all rows.
    private var (rowsRead, totalRows) = (0, 0)

    /// A document that is stored as an object.
    /// - Parameter index: the object's gzip member index; `nil` if the legacy service wrote the object.
    /// - Parameter pieces: the decryption of an encrypted object.
    init(_ download: any ObjectDownload, index: GzipMemberIndex?, pieces: ImportPieces?, codec: any ImportCodec) {
        self.pieces = pieces
        self.source = index.map { .members(download, $0) } ?? .stream(download, codec.makeDecompressor())
        self.codec = codec
    }

    /// A document that is stored as rows.
    /// - Parameter count: minimum number of rows; if there are fewer, ``next()`` throws ``ImportError/damaged(_:)``.
    /// - Parameter pieces: the decryption of encrypted rows, of which there must be exactly `count`.
    init(
        rows records: any RecordStore, of id: ImportID, atLeast count: Int? = nil, pieces: ImportPieces?,
        codec: any ImportCodec
    ) {
        self.pieces = pieces
        self.totalRows = count ?? 0
        self.source = .rows(records, id)
        self.codec = codec
        self.missingRows = count
    }

    /// Size of the whole document in bytes; `nil` if that is unknown before the end: for an object without an index,
    /// and for rows, of which some may be added during the read.
    var bytes: Int? {
        if case .members(_, let index) = self.source { index.uncompressedBytes } else { nil }
    }

    /// The next chunk of the document, usually up to about 1 MiB; `nil` at the end.
    /// - Throws: ``ImportError/damaged(_:)`` if the stored data is incomplete or invalid, so `nil` is returned only if
    ///   all stored data was read.
    public func next() async throws(ImportError) -> [UInt8]? {
        if self.isComplete { return nil }
        switch self.source {
        case .members(let download, let index): return try await self.nextMember(download, index)
        case .stream(let download, let decompressor):
            guard self.pieces == nil else { throw ImportService.noIndex }
            return try await self.nextChunk(download, decompressor)
        case .rows(let records, let id): return try await self.nextRows(records, id)
        }
    }

    /// The text of the next gzip member. At the end, checks that the object ends there, too.
    private func nextMember(_ download: any ObjectDownload, _ index: GzipMemberIndex) async throws(ImportError) -> [UInt8]? {
        guard self.position < index.members.count else {
            guard self.compressed.isEmpty, try await Self.part(download) == nil else {
                throw .damaged(
                    "The import's object is longer than the \(index.compressedBytes) bytes of its gzip member index.")
            }
            self.isComplete = true
            return nil
        }
        let member = index.members[self.position]
        while self.compressed.count < member.compressed {
            guard let part = try await Self.part(download) else {
                throw .damaged(
                    "The import's object is shorter than the \(index.compressedBytes) bytes of its gzip member index.")
            }
            self.compressed += part
        }
        let bytes =
            try self.pieces?.openMember(
                self.compressed[..<member.compressed], number: self.position, of: index.members.count)
            ?? Array(self.compressed.prefix(member.compressed))
        self.compressed.removeFirst(member.compressed)
        self.position += 1
        // The header of an encrypted object has no text.
        if self.pieces != nil, self.position == 1 { return try await self.nextMember(download, index) }
        return try await self.codec.text(of: bytes, uncompressedBytes: member.uncompressed)
    }

    /// The next decompressed bytes of an object without an index. At the end, checks that the last gzip member is
    /// complete.
    private func nextChunk(_ download: any ObjectDownload, _ decompressor: any StreamDecompressor) async throws(ImportError)
        -> [UInt8]?
    {
        while true {
            var input = self.compressed[...]
            let bytes: [UInt8]
            do throws(CodecError) { bytes = try decompressor.decompress(&input) } catch {
                throw .damaged("The import's object is not valid gzip.")
            }
            self.compressed = Array(input)
            if !bytes.isEmpty { return bytes }
            guard self.compressed.isEmpty else { continue }
            guard let part = try await Self.part(download) else {
                guard decompressor.isAtEnd else {
                    throw .damaged("The import's object is truncated: its gzip data is incomplete.")
                }
                self.isComplete = true
                return nil
            }
            self.compressed = part
        }
    }

    /// The next rows as lines of the document.
    private func nextRows(_ records: any RecordStore, _ id: ImportID) async throws(ImportError) -> [UInt8]? {
        var slice: RecordSlice
        do throws(StoreError) {
            slice = try await records.records(of: id, after: self.rows.bookmark, limit: Self.rowsPerPage)
        } catch {
            throw .store(error)
        }
        if let pieces {
            slice.records = try pieces.openRows(slice.records, from: self.rowsRead, total: self.totalRows)
            self.rowsRead += slice.records.count
        }
        var page = RecordPage(continuing: self.rows.hasBegun, capacity: 65_536)
        for row in slice.records { page.append(row) }
        self.rows = (slice.next, self.rows.hasBegun || !slice.records.isEmpty)
        self.missingRows = self.missingRows.map { $0 - slice.records.count }
        if slice.next == nil {
            let missing = self.missingRows ?? 0
            guard missing <= 0 else {
                throw .damaged(
                    "The import has \(missing) rows fewer than in the ledger: they were deleted, or moved during the read.")
            }
            page.close()
            self.isComplete = true
        }
        return page.text
    }

    /// The next bytes of the object; `nil` at its end.
    private static func part(_ download: any ObjectDownload) async throws(ImportError) -> [UInt8]? {
        do throws(ObjectError) { return try await download.next() } catch { throw .objects(error) }
    }
}

extension ImportCodec {
    /// Decompresses one or more gzip members of an object.
    /// - Parameter uncompressedBytes: size of the result by the gzip member index.
    /// - Throws: ``ImportError/damaged(_:)`` if the bytes are not gzip or the result has another size.
    func text(of members: [UInt8], uncompressedBytes: Int) async throws(ImportError) -> [UInt8] {
        let text: [UInt8]
        do throws(CodecError) { text = try await self.decompress(members, limit: uncompressedBytes) } catch {
            throw .damaged(
                "The import's object does not match its gzip member index: the members read cannot be decompressed to "
                    + "\(uncompressedBytes) bytes.")
        }
        guard text.count == uncompressedBytes else {
            throw .damaged(
                "The import's object does not match its gzip member index: the members read have \(text.count) bytes after "
                    + "decompression instead of \(uncompressedBytes).")
        }
        return text
    }
}
