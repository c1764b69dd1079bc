import DequeModule

/// Packs pages to gzip members, several at a time, and writes them in order to an object.
final class ObjectSink: ImportSink {
    /// Pages that are being packed. With what the reader has in hand there is work for as many cores.
    private static let maximumPacking = 3

    private struct Packing {
        var records: Int
        var unpacked: Int
        var result: Task<[UInt8], Never>
    }

    private let upload: any ObjectUpload
    private let bucket: String
    private let codec: any ImportCodec
    private let hash: any IncrementalHash
    private var packing = Deque<Packing>()
    private var index = GzipMemberIndex()

    init(_ upload: any ObjectUpload, bucket: String, codec: any ImportCodec) {
        self.upload = upload
        self.bucket = bucket
        self.codec = codec
        self.hash = codec.makeHash()
    }

    func take(_ page: RecordPage) async throws {
        while self.packing.count >= Self.maximumPacking { try await self.writeNext() }
        let codec = self.codec
        let text = page.text
        self.packing.append(
            Packing(
                records: page.records.count, unpacked: text.count, result: Task { await codec.pack(text) }))
    }

    private func writeNext() async throws {
        guard let next = self.packing.popFirst() else { return }
        let packed = await next.result.value
        packed.withUnsafeBytes { self.hash.update($0) }
        self.index.append(.init(records: next.records, packed: packed.count, unpacked: next.unpacked))
        do throws(ObjectError) { try await self.upload.write(packed) } catch { throw ImportError.objects(error) }
    }

    func finish() async throws -> SinkResult {
        while !self.packing.isEmpty { try await self.writeNext() }
        let info: ObjectInfo
        do throws(ObjectError) { info = try await self.upload.finish() } catch { throw ImportError.objects(error) }
        guard info.size == self.index.packedBytes else { throw ImportError.damaged("The stored object has another size.") }
        return SinkResult(bucket: self.bucket, storedBytes: info.size, dataHash: self.hash.finish(), index: self.index)
    }

    @discardableResult
    func abort() async -> Bool { await self.upload.abort() }
}
