#if canImport(Glibc)
import Glibc
#endif

/// The access rights of a data directory. Its files are for the hub's user only: the database has all flows, and the key
/// that signs the messages on Redis.
enum DataFolderAccess {
    static let folderMode: mode_t = 0o700
    static let fileMode: mode_t = 0o600

    /// The entries of a data directory whose access rights are checked and restricted. What is below them is out of reach
    /// for other users once these are restricted.
    private static let entries =
        ["flowhub.sqlite", "flowhub.sqlite-wal", "flowhub.sqlite-shm", "hub.lock", "move.lock"]
        + ["objects", "objects/stored", "objects/uploads"]

    // MARK: Creating

    /// Creates the directory and its parents, with access for this user only, if they do not exist.
    /// - Throws: ``EmbeddedStoreError`` if it cannot be created or used; the text says why and what to do.
    static func makeFolder(_ directory: String) throws(EmbeddedStoreError) {
        var path = directory.hasPrefix("/") ? "" : "."
        for name in directory.split(separator: "/") {
            path += "/" + name
            if mkdir(path, Self.folderMode) == 0 || errno == EEXIST { continue }
            let reason = String(cString: strerror(errno))
            throw EmbeddedStoreError(
                code: .folder,
                description: "Cannot create the directory \(directory): \(reason). "
                    + "Create it, or give \(Self.user(geteuid())) write permission for its parent directory.")
        }
        try Self.check(directory)
    }

    /// Creates an empty database file with access for this user only, unless the file exists. SQLite gives the files beside
    /// it (`-wal`, `-shm`) the same mode.
    static func makeDatabaseFile(_ path: String) {
        // A failure is reported by SQLite, which then cannot open the file.
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, Self.fileMode)
        if descriptor >= 0 { close(descriptor) }
    }

    // MARK: Checking

    /// Checks that this process may read and write the files of a data directory.
    /// - Throws: ``EmbeddedStoreError`` that names the first file it may not use, its owner and this process's user.
    static func checkFiles(in directory: String) throws(EmbeddedStoreError) {
        for name in Self.entries { try Self.check(directory + "/" + name, root: directory) }
    }

    /// Checks that this process may read and write a file, or use a directory; a missing one passes.
    /// - Parameter root: the directory whose owner the advice changes; `nil`: `path` itself.
    static func check(_ path: String, root: String? = nil) throws(EmbeddedStoreError) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            guard errno == EACCES, let parent = path.split(separator: "/").dropLast().last else { return }
            throw EmbeddedStoreError(
                code: .folder, description: "Cannot reach \(path): no permission for its parent directory \(parent).")
        }
        let isFolder = status.st_mode & S_IFMT == S_IFDIR
        guard access(path, isFolder ? R_OK | W_OK | X_OK : R_OK | W_OK) != 0 else { return }
        let isReadOnly = errno == EROFS
        let what = "Cannot write to the \(isFolder ? "directory" : "file") \(path): "
        guard !isReadOnly else {
            throw EmbeddedStoreError(code: .folder, description: what + "its file system is read-only.")
        }
        let me = geteuid()
        let mode = "0" + String(status.st_mode & 0o777, radix: 8)
        let text =
            status.st_uid == me
            ? "its mode \(mode) denies it. Run: chmod u+rw\(isFolder ? "x" : "") \(path)"
            : "it belongs to the user \(Self.user(status.st_uid)), mode \(mode), and this process runs as \(Self.user(me)). "
                + "Run: chown -R \(Self.name(of: me) ?? "\(me)"): \(root ?? path)"
        throw EmbeddedStoreError(code: .folder, description: what + text)
    }

    // MARK: Restricting

    /// Removes the rights of group and others from the data directory and its files, as far as they belong to this user.
    /// - Returns: the paths that were changed.
    static func restrict(_ directory: String) -> [String] {
        ([directory] + Self.entries.map { directory + "/" + $0 }).filter { path in
            var status = stat()
            guard lstat(path, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 != 0 else { return false }
            switch status.st_mode & S_IFMT {
            // A directory with the sticky bit, such as /tmp, is shared on purpose and not the hub's own.
            case S_IFDIR where status.st_mode & S_ISVTX != 0: return false
            case S_IFDIR, S_IFREG: return chmod(path, status.st_mode & 0o7700) == 0
            default: return false
            }
        }
    }

    // MARK: Names

    /// A user's name and id for a text, such as `hub (uid 998)`.
    static func user(_ id: uid_t) -> String { Self.name(of: id).map { "\($0) (uid \(id))" } ?? "uid \(id)" }

    /// The name of a user; `nil` if the id has none.
    static func name(of id: uid_t) -> String? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16_384) { buffer in
            guard let start = buffer.baseAddress, getpwuid_r(id, &entry, start, buffer.count, &found) == 0, found != nil else {
                return nil
            }
            return entry.pw_name.map { String(cString: $0) }
        }
    }

    /// The ids of a user and its group; `nil` if no user has the name.
    static func id(of name: String) -> (uid: uid_t, gid: gid_t)? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16_384) { buffer in
            guard let start = buffer.baseAddress, getpwnam_r(name, &entry, start, buffer.count, &found) == 0, found != nil else {
                return nil
            }
            return (entry.pw_uid, entry.pw_gid)
        }
    }
}
