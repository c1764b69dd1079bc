public import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// Objects as files of a folder: `stored/` has them under their keys, `uploads/` what is not finished. Several processes may
/// use one folder.
///
/// A file appears under its key by a hard link to what was written and synchronized, which never takes another's place.
/// Attributes are checked and not kept: the files are what their names say. A key whose path leads through another key cannot
/// be held, and a segment has at most 255 bytes.
public final class FolderObjectStore: ObjectStore {
    public struct Limits: Hashable, Sendable {
        /// Bytes that a download reads at once.
        public var readBytes = 262_144

        public init() {}
    }

    public let provider = "folder"
    /// The folder's name.
    public let bucket: String
    let stored: FolderTree
    let uploads: FolderTree
    let ioQueue = FileIOQueue()
    private let limits: Limits
    private let now: @Sendable () -> Timestamp

    /// Makes the folder if it is missing.
    /// - Parameter now: the wall clock, which says when an upload was begun.
    public init(folder: String, limits: Limits = .init(), now: @escaping @Sendable () -> Timestamp) throws(EmbeddedStoreError) {
        self.bucket = folder.split(separator: "/").last.map(String.init) ?? folder
        self.stored = FolderTree(root: folder + "/stored")
        self.uploads = FolderTree(root: folder + "/uploads")
        self.limits = limits
        self.now = now
        for tree in [self.stored, self.uploads] { try SQLiteDatabaseOpener.makeFolder(tree.root) }
    }

    // MARK: Objects

    public func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload {
        try ObjectRules.check(key: key)
        try ObjectRules.check(attributes)
        let name = UploadName(beganAt: self.now()).description
        return try await self.ioQueue.run { () throws(ObjectError) in
            // Better now than after all the bytes; whoever comes between is noticed at the end.
            if try self.info(key) != nil { throw .exists }
            return try self.uploads.make(Self.path(key), isDurable: false) { folder throws(ObjectError) in
                let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
                guard let file = try OpenFile.open(name, in: folder, flags, mode: 0o644) else { return nil }
                return FolderUpload(key: key, name: name, file: file, folder: folder, self)
            }
        }
    }

    public func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload {
        try ObjectRules.check(key: key)
        return try await self.ioQueue.run { () throws(ObjectError) in
            let (folders, name) = Self.location(key)
            // Not to wait for a writer, should it be a pipe.
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

    public func head(_ key: String) async throws(ObjectError) -> ObjectInfo? {
        try ObjectRules.check(key: key)
        return try await self.ioQueue.run { () throws(ObjectError) in try self.info(key)?.object(key) }
    }

    public func delete(_ key: String) async throws(ObjectError) {
        try ObjectRules.check(key: key)
        try await self.ioQueue.run { () throws(ObjectError) in
            let (folders, name) = Self.location(key)
            guard let folder = try self.stored.open(folders), try folder.remove(name) else { return }
            try folder.synchronize()
            self.stored.prune(folders)
        }
    }

    public func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList {
        try ObjectRules.check(prefix: prefix)
        if let after { try ObjectRules.check(prefix: after) }
        guard limit > 0 else { throw .invalid("A list has at least one object.") }
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

    /// - Returns: `nil`: whoever may read a folder needs no link.
    public func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String? {
        try ObjectRules.check(key: key)
        try ObjectRules.check(linkSeconds: seconds)
        return nil
    }

    // MARK: Places

    static func path(_ key: String) -> [Substring] { key.split(separator: "/") }

    /// The folders that lead to a key's file, and its name.
    static func location(_ key: String) -> (folders: [Substring], name: String) {
        var folders = self.path(key)
        let name = folders.popLast() ?? ""
        return (folders, String(name))
    }

    private func info(_ key: String) throws(ObjectError) -> FileInfo? {
        let (folders, name) = Self.location(key)
        guard let info = try self.stored.open(folders)?.info(of: name), info.kind == .file else { return nil }
        return info
    }
}

/// Names a file among the unfinished uploads to a key: when it was begun, and 128 random bits.
struct UploadName: CustomStringConvertible {
    let description: String
    let beganAt: Timestamp

    init(beganAt: Timestamp) {
        self.beganAt = beganAt
        self.description = "\(max(0, beganAt.milliseconds))-\(RandomText.hex128())"
    }

    /// - Returns: `nil` if it is none.
    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let milliseconds = Int64(parts[0]), milliseconds >= 0, parts[1].utf8.count == 32,
            ObjectRules.isSegment(parts[1])
        else { return nil }
        self.beganAt = Timestamp(milliseconds: milliseconds)
        self.description = text
    }
}
