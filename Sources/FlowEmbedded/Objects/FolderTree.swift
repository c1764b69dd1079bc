import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// Folders in folders, one for each segment of a key. No symbolic link is followed on any of them but the root.
struct FolderTree: Sendable {
    let root: String

    private static let folderFlags = O_RDONLY | O_DIRECTORY

    /// - Returns: `nil` if there is no such folder.
    func open(_ folders: some Sequence<Substring>) throws(ObjectError) -> OpenFile? {
        guard var folder = try OpenFile.open(self.root, Self.folderFlags) else {
            throw .unavailable("The folder \(self.root) is gone.")
        }
        for name in folders {
            guard let next = try OpenFile.open(String(name), in: folder, Self.folderFlags | O_NOFOLLOW) else { return nil }
            folder = next
        }
        return folder
    }

    /// Makes what is missing, and runs the body in the folder.
    /// - Parameters:
    ///   - isDurable: whether all of them are on the disk before the body runs.
    ///   - body: returns `nil` if the folder was removed meanwhile, as an empty one may be at any time.
    func make<Value>(
        _ folders: [Substring], isDurable: Bool, _ body: (OpenFile) throws(ObjectError) -> Value?
    ) throws(ObjectError) -> Value {
        // Somebody else's removal comes between only now and then.
        for _ in 0..<Self.attempts {
            if let folder = try self.makeOnce(folders, isDurable: isDurable), let value = try body(folder) { return value }
        }
        throw .unavailable("The folder \(self.root) is cleared as fast as it is filled.")
    }

    private static let attempts = 1_000

    /// - Returns: `nil` if one of them was removed meanwhile.
    private func makeOnce(_ folders: [Substring], isDurable: Bool) throws(ObjectError) -> OpenFile? {
        guard var folder = try self.open([]) else { return nil }
        for name in folders {
            let name = String(name)
            if mkdirat(folder.descriptor, name, 0o755) != 0, errno != EEXIST {
                if errno == ENOENT { return nil }
                throw FolderFailure.error(errno)
            }
            // Also one that was there: whoever made it may not have come so far yet.
            if isDurable { try folder.synchronize() }
            guard let next = try OpenFile.open(name, in: folder, Self.folderFlags | O_NOFOLLOW) else {
                if try folder.info(of: name).map({ $0.kind != .folder }) == true { throw FolderFailure.isBlocked }
                return nil
            }
            folder = next
        }
        return folder
    }

    /// Removes the last of these folders if it is empty, then the one before, and so on.
    func prune(_ folders: [Substring]) {
        var folders = folders[...]
        while let last = folders.popLast() {
            guard let parent = try? self.open(folders), unlinkat(parent.descriptor, String(last), AT_REMOVEDIR) == 0 else {
                return
            }
        }
    }

    /// Visits all files whose paths begin with `prefix` and come after `after`, in the order of the bytes of their paths.
    /// - Parameter visit: returns whether to go on.
    func forEachFile(
        prefix: String, after: String?, _ visit: (_ path: String, FileInfo) throws(ObjectError) -> Bool
    ) throws(ObjectError) {
        _ = try self.forEachFile([], Span(prefix: prefix, after: after), visit)
    }

    private func forEachFile(
        _ folders: [Substring], _ span: Span, _ visit: (String, FileInfo) throws(ObjectError) -> Bool
    ) throws(ObjectError) -> Bool {
        // One that is gone by now has nothing in it.
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

    /// Which paths are meant.
    private struct Span {
        let prefix: String
        let after: String?

        func contains(_ path: String) -> Bool { path.hasPrefix(self.prefix) && self.after.map { $0 < path } != false }

        /// Whether it may contain a path that begins with this one, which ends in a slash.
        func reachesInto(_ folder: String) -> Bool {
            guard folder.hasPrefix(self.prefix) || self.prefix.hasPrefix(folder) else { return false }
            guard let after = self.after else { return true }
            return after < folder || after.hasPrefix(folder)
        }
    }
}
