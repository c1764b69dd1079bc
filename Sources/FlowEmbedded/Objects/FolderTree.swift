import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// A tree of directories and files below a root directory. A path in the tree consists of the segments of a key: in the
/// tree of finished objects, the last segment is a file and the others are directories. Symbolic links in the tree are
/// not followed; the root may be one.
struct FolderTree: Sendable {
    let root: String

    private static let folderFlags = O_RDONLY | O_DIRECTORY

    /// Opens the directory at a path below the root.
    /// - Returns: `nil` if it does not exist, or if a part of the path is not a directory.
    /// - Throws: ``ObjectError/unavailable(_:)`` if the root is missing.
    func open(_ folders: some Sequence<Substring>) throws(ObjectError) -> OpenFile? {
        guard var folder = try OpenFile.open(self.root, Self.folderFlags) else {
            throw .unavailable("The object directory \(self.root) does not exist.")
        }
        for name in folders {
            guard let next = try OpenFile.open(String(name), in: folder, Self.folderFlags | O_NOFOLLOW) else { return nil }
            folder = next
        }
        return folder
    }

    /// Creates the missing directories of a path, and calls `body` with the last directory.
    /// - Parameters:
    ///   - isDurable: whether all these directories must be on disk before the body runs.
    ///   - body: returns `nil` if its directory was removed in the meantime, since another process may remove an empty
    ///     directory at any time. Then the directories are created again, and `body` is called again.
    func make<Value>(
        _ folders: [Substring], isDurable: Bool, _ body: (OpenFile) throws(ObjectError) -> Value?
    ) throws(ObjectError) -> Value {
        // Repeated, because another process may remove a directory between its creation and its use. This is rare.
        for _ in 0..<Self.attempts {
            if let folder = try self.makeOnce(folders, isDurable: isDurable), let value = try body(folder) { return value }
        }
        throw .unavailable("Another process keeps deleting directories in \(self.root).")
    }

    /// Maximum number of attempts of ``make(_:isDurable:_:)``.
    private static let attempts = 1_000

    /// Makes one attempt of ``make(_:isDurable:_:)``.
    /// - Returns: `nil` if one of the directories was removed in the meantime.
    private func makeOnce(_ folders: [Substring], isDurable: Bool) throws(ObjectError) -> OpenFile? {
        guard var folder = try self.open([]) else { return nil }
        for name in folders {
            let name = String(name)
            if mkdirat(folder.descriptor, name, DataFolderAccess.folderMode) != 0, errno != EEXIST {
                if errno == ENOENT { return nil }
                throw FolderFailure.error(errno)
            }
            // A directory that existed before is synchronized as well: the process that created it may not have done so
            // yet.
            if isDurable { try folder.synchronize() }
            guard let next = try OpenFile.open(name, in: folder, Self.folderFlags | O_NOFOLLOW) else {
                if try folder.info(of: name).map({ $0.kind != .folder }) == true { throw FolderFailure.isBlocked }
                return nil
            }
            folder = next
        }
        return folder
    }

    /// Removes the last of these directories if it is empty, then the one before it, and so on up to the root. Errors
    /// are ignored.
    func prune(_ folders: [Substring]) {
        var folders = folders[...]
        while let last = folders.popLast() {
            guard let parent = try? self.open(folders), unlinkat(parent.descriptor, String(last), AT_REMOVEDIR) == 0 else {
                return
            }
        }
    }

    /// Calls `visit` for all files whose paths begin with `prefix` and are above `after`, in the byte order of their
    /// paths.
    /// - Parameter visit: returns whether to continue.
    func forEachFile(
        prefix: String, after: String?, _ visit: (_ path: String, FileInfo) throws(ObjectError) -> Bool
    ) throws(ObjectError) {
        _ = try self.forEachFile([], Span(prefix: prefix, after: after), visit)
    }

    /// Visits the files of one directory and those below it.
    /// - Returns: whether to continue; `false` once `visit` has returned `false`.
    private func forEachFile(
        _ folders: [Substring], _ span: Span, _ visit: (String, FileInfo) throws(ObjectError) -> Bool
    ) throws(ObjectError) -> Bool {
        // A directory that was removed in the meantime contains nothing.
        guard let folder = try self.open(folders) else { return true }
        let base = folders.map { $0 + "/" }.joined()
        let entries = try folder.entries().filter { ObjectRules.isSegment($0.name) }
        for entry in entries.sorted(by: { $0.pathPart < $1.pathPart }) {
            let path = base + entry.pathPart
            if entry.isFolder {
                guard span.reachesInto(path) else { continue }
                guard try self.forEachFile(folders + [Substring(entry.name)], span, visit) else { return false }
            } else if span.contains(path), let info = try folder.info(of: entry.name), info.kind == .file {
                guard try visit(path, info) else { return false }
            }
        }
        return true
    }

    /// The range of paths to visit.
    private struct Span {
        let prefix: String
        let after: String?

        /// Whether the file with this path is to be visited.
        func contains(_ path: String) -> Bool { path.hasPrefix(self.prefix) && self.after.map { $0 < path } != false }

        /// Whether the directory may contain files that are to be visited. Its path ends with a slash.
        func reachesInto(_ folder: String) -> Bool {
            guard folder.hasPrefix(self.prefix) || self.prefix.hasPrefix(folder) else { return false }
            guard let after = self.after else { return true }
            return after < folder || after.hasPrefix(folder)
        }
    }
}
