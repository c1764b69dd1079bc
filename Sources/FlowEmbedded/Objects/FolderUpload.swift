import FlowCore
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// An upload: a file under a temporary name that ``finish()`` links to its key.
final class FolderUpload: ObjectUpload {
    private struct State: Sendable {
        var written = 0
        /// Whether the file was linked to its key.
        var mayExist = false
        /// Whether the upload was finished or aborted.
        var hasEnded = false
    }

    private let key: String
    private let name: String
    private let file: OpenFile
    /// The directory of the unfinished file.
    private let folder: OpenFile
    private let store: FolderObjectStore
    private let state = Mutex(State())

    init(key: String, name: String, file: OpenFile, folder: OpenFile, _ store: FolderObjectStore) {
        self.key = key
        self.name = name
        self.file = file
        self.folder = folder
        self.store = store
    }

    func write(_ bytes: [UInt8]) async throws(ObjectError) {
        try self.checkOpen()
        guard !bytes.isEmpty else { return }
        try await self.store.ioQueue.run { () throws(ObjectError) in
            try self.file.write(bytes)
            self.state.withLock { $0.written += bytes.count }
        }
    }

    func finish() async throws(ObjectError) -> ObjectInfo {
        try self.checkOpen()
        return try await self.store.ioQueue.run { () throws(ObjectError) in
            try self.file.synchronize()
            let info = try self.file.info()
            guard info.size == self.state.withLock({ $0.written }) else {
                throw .corrupted("The file's size differs from the bytes written.")
            }
            do throws(ObjectError) {
                try self.link()
            } catch .exists {
                self.end()
                throw .exists
            }
            self.end()
            return info.object(self.key)
        }
    }

    @discardableResult
    func abort() async -> Bool {
        guard (try? self.checkOpen()) != nil else { return true }
        // A file that cannot be removed is listed as an unfinished upload.
        let isGone = (try? await self.store.ioQueue.run { () throws(ObjectError) in self.end() }) ?? false
        return isGone && !self.state.withLock { $0.mayExist }
    }

    private func checkOpen() throws(ObjectError) {
        if self.state.withLock({ $0.hasEnded }) { throw .invalid("The upload was already finished or aborted.") }
    }

    /// Links the file to its key, and synchronizes the directory.
    private func link() throws(ObjectError) {
        let (folders, name) = FolderObjectStore.location(self.key)
        let target: OpenFile = try self.store.stored.make(folders, isDurable: true) { target throws(ObjectError) in
            if linkat(self.folder.descriptor, self.name, target.descriptor, name, 0) == 0 {
                self.state.withLock { $0.mayExist = true }
                return target
            }
            switch errno {
            case EEXIST:
                if try target.info(of: name)?.kind == .folder { throw FolderFailure.isFolder }
                throw .exists
            case ENOENT:
                if try self.folder.info(of: self.name) == nil { throw FolderFailure.aborted }
                return nil
            case EPERM, EOPNOTSUPP, ENOSYS: throw FolderFailure.noLinks
            case let code: throw FolderFailure.error(code)
            }
        }
        try target.synchronize()
    }

    /// Removes the unfinished name. A file that was linked to its key stays there.
    /// - Returns: whether the name was removed.
    @discardableResult
    private func end() -> Bool {
        self.state.withLock { $0.hasEnded = true }
        let isGone = (try? self.folder.remove(self.name)) != nil
        self.store.uploads.prune(FolderObjectStore.path(self.key))
        return isGone
    }
}
