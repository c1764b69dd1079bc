import Synchronization

/// A download that never comes to its end with other bytes than were stored: the last part is kept back until all of them were
/// hashed.
final class VerifiedDownload: ObjectDownload {
    private let download: HashingDownload
    /// SHA-256 of what was stored, in hexadecimal.
    private let hash: String
    private let held = Mutex<[UInt8]?>(nil)

    init(_ download: any ObjectDownload, hash: String, _ codec: any ImportCodec) {
        self.download = HashingDownload(download, codec)
        self.hash = hash
    }

    var info: ObjectInfo { self.download.info }

    func next() async throws(ObjectError) -> [UInt8]? {
        while let part = try await self.download.next() {
            let before = self.held.withLock { held in
                defer { held = part }
                return held
            }
            if let before { return before }
        }
        guard let last = self.held.withLock({ $0.take() }) else { return nil }
        guard self.download.finish() == self.hash else {
            throw .corrupted("What came from the store is not what was put there.")
        }
        return last
    }
}
