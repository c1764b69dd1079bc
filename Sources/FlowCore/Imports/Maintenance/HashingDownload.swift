import Synchronization

/// A download that hashes its bytes as they are read.
final class HashingDownload: ObjectDownload {
    /// The hash of the bytes read so far. `Sendable` is unchecked: the hash is not shared with other objects and is only
    /// used under the lock.
    private struct State: ~Copyable, @unchecked Sendable {
        let hash: any IncrementalHash
    }

    private let download: any ObjectDownload
    private let state: Mutex<State>

    init(_ download: any ObjectDownload, _ codec: any ImportCodec) {
        self.download = download
        self.state = Mutex(State(hash: codec.makeHash()))
    }

    var info: ObjectInfo { self.download.info }

    /// The next bytes of the download, which are also hashed; `nil` at the end.
    func next() async throws(ObjectError) -> [UInt8]? {
        guard let part = try await self.download.next() else { return nil }
        self.state.withLock { state in part.withUnsafeBytes { state.hash.update($0) } }
        return part
    }

    /// Ends the hash.
    /// - Returns: SHA-256 of all bytes that were read, in hexadecimal.
    func finish() -> String { self.state.withLock { $0.hash.finish() } }
}
