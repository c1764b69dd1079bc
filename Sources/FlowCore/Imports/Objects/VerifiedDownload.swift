import Synchronization

/// A download that ends without an error only if its bytes have the SHA-256 of the stored object. It holds back the
/// chunk that arrives last until the hash of all bytes was compared.
final class VerifiedDownload: ObjectDownload {
    private let download: HashingDownload
    /// SHA-256 of the stored object, in hexadecimal.
    private let hash: String
    /// The chunk that arrived last and was not returned yet; `nil` before the first and after the last one.
    private let buffered = Mutex<[UInt8]?>(nil)

    init(_ download: any ObjectDownload, hash: String, _ codec: any ImportCodec) {
        self.download = HashingDownload(download, codec)
        self.hash = hash
    }

    var info: ObjectInfo { self.download.info }

    /// The next bytes of the object; `nil` at its end.
    /// - Throws: ``ObjectError/corrupted(_:)`` instead of the final bytes if the hash differs.
    func next() async throws(ObjectError) -> [UInt8]? {
        while let part = try await self.download.next() {
            let previous = self.buffered.withLock { buffered in
                defer { buffered = part }
                return buffered
            }
            if let previous { return previous }
        }
        guard let last = self.buffered.withLock({ $0.take() }) else { return nil }
        guard self.download.finish() == self.hash else {
            throw .corrupted("the SHA-256 of the downloaded object differs from the ledger (data_hash)")
        }
        return last
    }
}
