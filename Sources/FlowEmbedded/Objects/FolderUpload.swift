import FlowCore
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// The writing of an object: a file under a temporary name, which ``finish()`` links to the object's key.
final class FolderUpload: ObjectUpload {
    private struct State: Sendable {
        /// Number of bytes written.
        var written = 0
        /// Whether the file was linked to the key, so that the object may exist even if ``finish()`` has failed.
        var mayExist = false
        /// Whether the upload was finished or aborted.
        var hasEnded = false
    }

    private let key: String
    /// The temporary name.
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

    /// Appends bytes to the file.
    func write(_ bytes: [UInt8]) async throws(ObjectError) {
        try self.checkOpen()
        guard !bytes.isEmpty else { return }
        try await self.store.ioQueue.run { () throws(ObjectError) in
            try self.file.write(bytes)
            self.state.withLock { $0.written += bytes.count }
        }
    }

    /// Synchronizes the file, verifies its size, and links it to the key.
    /// - Throws: `exists` if another object has the key; the file is removed then.
    func finish() async throws(ObjectError) -> ObjectInfo {
        try self.checkOpen()
        return try await self.store.ioQueue.run { () throws(ObjectError) in
            try self.file.synchronize()
            let info = try self.file.info()
            guard info.size == self.state.withLock({ $0.written }) else {
                throw .corrupted("The size of the object's file differs from the number of bytes written.")
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

    /// Removes the file. Has no effect after ``finish()`` has returned.
    /// - Returns: whether it is certain that neither the file nor an object remains of a failed upload.
    @discardableResult
    func abort() async -> Bool {
        guard (try? self.checkOpen()) != nil else { return true }
        // If the file cannot be removed, it is listed as an unfinished upload from now on, and the import sweep removes
        // it.
        let isGone = (try? await self.store.ioQueue.run { () throws(ObjectError) in self.end() }) ?? false
        return isGone && !self.state.withLock { $0.mayExist }
    }

    /// Throws `invalid` if the upload was finished or aborted.
    private func checkOpen() throws(ObjectError) {
        if self.state.withLock({ $0.hasEnded }) { throw .invalid("The upload was already finished or aborted.") }
    }

    /// Links the file to the key, and synchronizes the key's directory.
    /// - Throws: `exists` if another object has the key.
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

    /// Ends the upload and removes the file's temporary name. If the file was linked to the key, it stays under the
    /// key.
    /// - Returns: whether the temporary name does not exist any more.
    @discardableResult
    private func end() -> Bool {
        self.state.withLock { $0.hasEnded = true }
        let isGone = (try? self.folder.remove(self.name)) != nil
        self.store.uploads.prune(FolderObjectStore.path(self.key))
        return isGone
    }
}
