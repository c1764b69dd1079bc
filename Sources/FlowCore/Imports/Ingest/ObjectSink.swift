import DequeModule

/// Compresses pages to gzip members, several at a time, and writes them to an object in order, each encrypted as a piece if
/// the import is encrypted.
final class ObjectSink: ImportSink {
    /// Maximum number of pages that are compressed concurrently. Together with parsing they keep up to four cores
    /// busy.
    private static let maximumCompressions = 3

    /// A page that is being compressed to a gzip member.
    private struct Compression {
        /// Number of records of the page.
        var records: Int
        /// Size of the page in bytes before compression.
        var uncompressed: Int
        var result: Task<[UInt8], Never>
    }

    let pieces: ImportPieces?
    private let upload: any ObjectUpload
    private let bucket: String
    private let codec: any ImportCodec
    private let hash: any IncrementalHash
    /// The pages in the order in which their gzip members must be written.
    private var compressions = Deque<Compression>()
    /// The gzip members that were written.
    private var index = GzipMemberIndex()

    init(_ upload: any ObjectUpload, bucket: String, codec: any ImportCodec, pieces: ImportPieces?) {
        self.pieces = pieces
        self.upload = upload
        self.bucket = bucket
        self.codec = codec
        self.hash = codec.makeHash()
    }

    /// Starts to compress a page. Waits while the maximum number of pages is being compressed.
    func write(_ page: RecordPage) async throws {
        while self.compressions.count >= Self.maximumCompressions { try await self.writeNext(isLast: false) }
        let codec = self.codec
        let text = page.text
        self.compressions.append(
            Compression(
                records: page.records.count, uncompressed: text.count, result: Task { await codec.compress(text) }))
    }

    /// Waits until the oldest page is compressed, and writes its gzip member.
    /// - Parameter isLast: whether it is the last page of the import.
    private func writeNext(isLast: Bool) async throws {
        guard let next = self.compressions.popFirst() else { return }
        var member = await next.result.value
        if let pieces {
            if self.index.members.isEmpty { try await self.put(pieces.header, records: 0, uncompressed: 0) }
            member = pieces.sealMember(member, number: self.index.members.count, isLast: isLast)
        }
        try await self.put(member, records: next.records, uncompressed: next.uncompressed)
    }

    /// Writes a member of the index.
    private func put(_ bytes: [UInt8], records: Int, uncompressed: Int) async throws {
        bytes.withUnsafeBytes { self.hash.update($0) }
        self.index.append(.init(records: records, compressed: bytes.count, uncompressed: uncompressed))
        do throws(ObjectError) { try await self.upload.write(bytes) } catch { throw ImportError.objects(error) }
    }

    /// Writes the remaining pages and makes the object visible.
    /// - Throws: ``ImportError/damaged(_:)`` if the object's size differs from the bytes written.
    func finish() async throws -> SinkResult {
        while !self.compressions.isEmpty { try await self.writeNext(isLast: self.compressions.count == 1) }
        let dataHash = self.hash.finish()
        await self.upload.describe(ObjectAttributes.totals(self.index, dataHash: dataHash))
        let info: ObjectInfo
        do throws(ObjectError) { info = try await self.upload.finish() } catch { throw ImportError.objects(error) }
        guard info.size == self.index.compressedBytes else {
            throw ImportError.damaged(
                "The stored object has \(info.size) bytes, but \(self.index.compressedBytes) bytes were written to it.")
        }
        return SinkResult(bucket: self.bucket, storedBytes: info.size, dataHash: dataHash, index: self.index)
    }

    /// Discards the object.
    /// - Returns: whether it is certain that nothing of it remains in the object store.
    @discardableResult
    func abort() async -> Bool { await self.upload.abort() }
}
