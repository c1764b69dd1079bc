import DequeModule

/// Compresses pages to gzip members, several at a time, and writes them to an object in order.
final class ObjectSink: ImportSink {
    /// Maximum number of pages that are compressed concurrently. Together with parsing they keep up to four cores
    /// busy.
    private static let maximumCompressions = 3

    private struct Compression {
        var records: Int
        var uncompressed: Int
        var result: Task<[UInt8], Never>
    }

    private let upload: any ObjectUpload
    private let bucket: String
    private let codec: any ImportCodec
    private let hash: any IncrementalHash
    private var compressions = Deque<Compression>()
    private var index = GzipMemberIndex()

    init(_ upload: any ObjectUpload, bucket: String, codec: any ImportCodec) {
        self.upload = upload
        self.bucket = bucket
        self.codec = codec
        self.hash = codec.makeHash()
    }

    func write(_ page: RecordPage) async throws {
        while self.compressions.count >= Self.maximumCompressions { try await self.writeNext() }
        let codec = self.codec
        let text = page.text
        self.compressions.append(
            Compression(
                records: page.records.count, uncompressed: text.count, result: Task { await codec.compress(text) }))
    }

    private func writeNext() async throws {
        guard let next = self.compressions.popFirst() else { return }
        let compressed = await next.result.value
        compressed.withUnsafeBytes { self.hash.update($0) }
        self.index.append(.init(records: next.records, compressed: compressed.count, uncompressed: next.uncompressed))
        do throws(ObjectError) { try await self.upload.write(compressed) } catch { throw ImportError.objects(error) }
    }

    func finish() async throws -> SinkResult {
        while !self.compressions.isEmpty { try await self.writeNext() }
        let info: ObjectInfo
        do throws(ObjectError) { info = try await self.upload.finish() } catch { throw ImportError.objects(error) }
        guard info.size == self.index.compressedBytes else {
            throw ImportError.damaged("The stored object's size differs from what was written.")
        }
        return SinkResult(bucket: self.bucket, storedBytes: info.size, dataHash: self.hash.finish(), index: self.index)
    }

    @discardableResult
    func abort() async -> Bool { await self.upload.abort() }
}
