public import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// An object store in a directory: `stored/` has finished objects under their keys, `uploads/` has unfinished ones.
/// Several processes may use one directory.
///
/// An object is written and synchronized under a temporary name, then hard-linked to its key, which never replaces an
/// existing file. The attributes of an upload are validated but not stored. An object cannot be stored at `a/b` if
/// there is one at `a` or at `a/b/c`, because each key is a path. A segment of a key has at most 255 bytes.
public final class FolderObjectStore: ObjectStore {
    public struct Limits: Hashable, Sendable {
        /// Maximum bytes that one call of ``ObjectDownload/next()`` reads.
        public var readBytes = 262_144

        public init() {}
    }

    public let provider = "folder"
    /// The last segment of the directory's path, in the role of a bucket's name.
    public let bucket: String
    /// The finished objects.
    let stored: FolderTree
    /// The unfinished objects: for each, a directory with the key's path and in it a file with the upload's name.
    let uploads: FolderTree
    let ioQueue = FileIOQueue()
    private let limits: Limits
    private let now: @Sendable () -> Timestamp

    /// Creates the directory if it does not exist.
    /// - Parameter now: the wall clock, for the start times of uploads.
    /// - Throws: ``EmbeddedStoreError`` if the directory cannot be created or written.
    public init(folder: String, limits: Limits = .init(), now: @escaping @Sendable () -> Timestamp) throws(EmbeddedStoreError) {
        self.bucket = folder.split(separator: "/").last.map(String.init) ?? folder
        self.stored = FolderTree(root: folder + "/stored")
        self.uploads = FolderTree(root: folder + "/uploads")
        self.limits = limits
        self.now = now
        for tree in [self.stored, self.uploads] { try DataFolderAccess.makeFolder(tree.root) }
    }

    // MARK: Objects

    /// Starts to write an object in `uploads/`.
    /// - Throws: `exists` if an object has the key already.
    public func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload {
        try ObjectRules.check(key: key)
        try ObjectRules.check(attributes)
        let name = UploadName(beganAt: self.now()).description
        return try await self.ioQueue.run { () throws(ObjectError) in
            // Fails before any byte is written, if an object has the key already. An object that another upload
            // finishes later is detected by ``FolderUpload/finish()``.
            if try self.info(key) != nil { throw .exists }
            return try self.uploads.make(Self.path(key), isDurable: false) { folder throws(ObjectError) in
                let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
                guard let file = try OpenFile.open(name, in: folder, flags, mode: DataFolderAccess.fileMode) else { return nil }
                return FolderUpload(key: key, name: name, file: file, folder: folder, self)
            }
        }
    }

    /// Opens an object's file for reading.
    /// - Parameter range: the bytes to read; `nil` for the whole object.
    /// - Throws: `notFound` if there is no regular file under the key.
    public func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload {
        try ObjectRules.check(key: key)
        return try await self.ioQueue.run { () throws(ObjectError) in
            let (folders, name) = Self.location(key)
            // O_NONBLOCK: opening a named pipe must not wait for its writer.
            guard let folder = try self.stored.open(folders),
                let file = try OpenFile.open(name, in: folder, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            else { throw .notFound }
            let info = try file.info()
            guard info.kind == .file else { throw .notFound }
            return FolderDownload(
                file: file, info: info.object(key), range: try ObjectRules.clamp(range, size: info.size),
                readBytes: self.limits.readBytes, self.ioQueue)
        }
    }

    /// The size and time of an object's file; `nil` if there is no regular file under the key.
    public func head(_ key: String) async throws(ObjectError) -> ObjectInfo? {
        try ObjectRules.check(key: key)
        return try await self.ioQueue.run { () throws(ObjectError) in try self.info(key)?.object(key) }
    }

    /// Deletes an object's file durably, and then its directories as far as they are empty.
    public func delete(_ key: String) async throws(ObjectError) {
        try ObjectRules.check(key: key)
        try await self.ioQueue.run { () throws(ObjectError) in
            let (folders, name) = Self.location(key)
            guard let folder = try self.stored.open(folders), try folder.remove(name) else { return }
            try folder.synchronize()
            self.stored.prune(folders)
        }
    }

    /// Lists up to `limit` objects whose keys start with `prefix` and are above `after`, in byte order of the keys.
    public func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList {
        try ObjectRules.check(prefix: prefix)
        if let after { try ObjectRules.check(prefix: after) }
        guard limit > 0 else { throw .invalid("The limit must be at least 1.") }
        return try await self.ioQueue.run { () throws(ObjectError) in
            var list = ObjectList(objects: [], hasMore: false)
            try self.stored.forEachFile(prefix: prefix, after: after) { key, info in
                list.hasMore = list.objects.count == limit
                if !list.hasMore { list.objects.append(info.object(key)) }
                return !list.hasMore
            }
            return list
        }
    }

    /// Checks the arguments. A directory has no download links.
    /// - Returns: always `nil`.
    public func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String? {
        try ObjectRules.check(key: key)
        try ObjectRules.check(linkSeconds: seconds)
        return nil
    }

    // MARK: Paths

    /// The segments of a key: the names of its directories, then the name of its file.
    static func path(_ key: String) -> [Substring] { key.split(separator: "/") }

    /// The names of the directories that lead to a key's file, and the file's name.
    static func location(_ key: String) -> (folders: [Substring], name: String) {
        var folders = self.path(key)
        let name = folders.popLast() ?? ""
        return (folders, String(name))
    }

    /// Metadata of an object's file; `nil` if there is no regular file under the key.
    private func info(_ key: String) throws(ObjectError) -> FileInfo? {
        let (folders, name) = Self.location(key)
        guard let info = try self.stored.open(folders)?.info(of: name), info.kind == .file else { return nil }
        return info
    }
}

/// Name of an unfinished upload's file: its start time in milliseconds and 128 random bits.
struct UploadName: CustomStringConvertible {
    let description: String
    let beganAt: Timestamp

    /// Creates a new name.
    init(beganAt: Timestamp) {
        self.beganAt = beganAt
        self.description = "\(max(0, beganAt.milliseconds))-\(RandomText.hex128())"
    }

    /// Parses a file name; `nil` if it is not the name of an unfinished upload.
    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let milliseconds = Int64(parts[0]), milliseconds >= 0, parts[1].utf8.count == 32,
            ObjectRules.isSegment(parts[1])
        else { return nil }
        self.beganAt = Timestamp(milliseconds: milliseconds)
        self.description = text
    }
}
