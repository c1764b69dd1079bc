/// An import's document as it is unpacked, piece by piece: `[`, a record a line, `]`. Used by one task.
public final class ImportDocument {
    private enum Source {
        /// An object whose members are known.
        case members(any ObjectDownload, GzipMemberIndex)
        /// An object that an older service wrote: gzip of any shape.
        case stream(any ObjectDownload, any StreamDecompressor)
        case rows(any RecordStore, ImportID)
    }

    private static let rowsAtOnce = 1_000

    private let source: Source
    private let codec: any ImportCodec
    private var packed: [UInt8] = []
    /// The next member.
    private var position = 0
    /// Where the reading of rows has come to, and whether it has begun.
    private var rows: (bookmark: RecordBookmark?, hasBegun: Bool) = (nil, false)
    private var isComplete = false
    /// Rows that are still to come, if it is known how many there are at least.
    private var missingRows: Int?

    init(_ download: any ObjectDownload, index: GzipMemberIndex?, codec: any ImportCodec) {
        self.source = index.map { .members(download, $0) } ?? .stream(download, codec.makeUnpacker())
        self.codec = codec
    }

    /// - Parameter count: of rows that there are at least; fewer are damage.
    init(rows records: any RecordStore, of id: ImportID, atLeast count: Int? = nil, codec: any ImportCodec) {
        self.source = .rows(records, id)
        self.codec = codec
        self.missingRows = count
    }

    /// Of the whole, where it is certain: an object's index was made with it. Of rows there may be more by the end.
    var bytes: Int? {
        if case .members(_, let index) = self.source { index.unpackedBytes } else { nil }
    }

    /// The next piece, some 1 MiB at most; `nil` at the end, which is reached only if all of it was right.
    public func next() async throws(ImportError) -> [UInt8]? {
        if self.isComplete { return nil }
        switch self.source {
        case .members(let download, let index): return try await self.nextMember(download, index)
        case .stream(let download, let unpacker): return try await self.nextPiece(download, unpacker)
        case .rows(let records, let id): return try await self.nextRows(records, id)
        }
    }

    private func nextMember(_ download: any ObjectDownload, _ index: GzipMemberIndex) async throws(ImportError) -> [UInt8]? {
        guard self.position < index.members.count else {
            guard self.packed.isEmpty, try await Self.part(download) == nil else {
                throw .damaged("The object is longer than its index says.")
            }
            self.isComplete = true
            return nil
        }
        let member = index.members[self.position]
        while self.packed.count < member.packed {
            guard let part = try await Self.part(download) else { throw .damaged("The object is shorter than its index says.") }
            self.packed += part
        }
        let bytes = Array(self.packed.prefix(member.packed))
        self.packed.removeFirst(member.packed)
        self.position += 1
        return try await self.codec.text(of: bytes, unpacked: member.unpacked)
    }

    private func nextPiece(_ download: any ObjectDownload, _ unpacker: any StreamDecompressor) async throws(ImportError) -> [UInt8]? {
        while true {
            var input = self.packed[...]
            let bytes: [UInt8]
            do throws(CodecError) { bytes = try unpacker.unpack(&input) } catch { throw .damaged("The object is no valid gzip.") }
            self.packed = Array(input)
            if !bytes.isEmpty { return bytes }
            guard self.packed.isEmpty else { continue }
            guard let part = try await Self.part(download) else {
                guard unpacker.isAtEnd else { throw .damaged("The object ends in the middle.") }
                self.isComplete = true
                return nil
            }
            self.packed = part
        }
    }

    private func nextRows(_ records: any RecordStore, _ id: ImportID) async throws(ImportError) -> [UInt8]? {
        let slice: RecordSlice
        do throws(StoreError) {
            slice = try await records.records(of: id, after: self.rows.bookmark, limit: Self.rowsAtOnce)
        } catch {
            throw .store(error)
        }
        var page = RecordPage(continuing: self.rows.hasBegun, capacity: 65_536)
        for row in slice.records { page.append(row) }
        self.rows = (slice.next, self.rows.hasBegun || !slice.records.isEmpty)
        self.missingRows = self.missingRows.map { $0 - slice.records.count }
        if slice.next == nil {
            guard self.missingRows ?? 0 <= 0 else {
                throw .damaged("Rows went while they were read: moved elsewhere, or removed.")
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
    /// One or more members, whose unpacked size is known.
    func text(of members: [UInt8], unpacked: Int) async throws(ImportError) -> [UInt8] {
        let text: [UInt8]
        do throws(CodecError) { text = try await self.unpack(members, limit: unpacked) } catch {
            throw .damaged("A part of the object is not what was packed.")
        }
        guard text.count == unpacked else { throw .damaged("A part of the object is not what was packed.") }
        return text
    }
}
