import Synchronization

/// A download whose bytes are hashed as they pass.
final class HashingDownload: ObjectDownload {
    /// The hash belongs to this object alone and is touched under its lock only.
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

    func next() async throws(ObjectError) -> [UInt8]? {
        guard let part = try await self.download.next() else { return nil }
        self.state.withLock { state in part.withUnsafeBytes { state.hash.update($0) } }
        return part
    }

    /// SHA-256 of all that was read, in hexadecimal.
    func finish() -> String { self.state.withLock { $0.hash.finish() } }
}
