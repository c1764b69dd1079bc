import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// File operations of backup and restore. They block the calling thread.
struct BackupFiles: Sendable {
    /// The folder of finished objects, relative to a data directory and to a backup.
    static let objectFolder = "objects/stored"
    private static let pieceBytes = 1_048_576

    let makeHash: @Sendable () -> any IncrementalHash

    /// The bytes and the SHA-256 of a file.
    struct Content: Hashable {
        var bytes: Int
        var hash: String
    }

    // MARK: Reading and copying

    /// Reads a file.
    /// - Returns: `nil` if it does not exist.
    func content(of path: String) throws(EmbeddedStoreError) -> Content? {
        try self.read(path) { _ throws(EmbeddedStoreError) in }
    }

    /// Copies a file to a new one with access for this user only, on disk when this returns. Creates its directories.
    /// - Returns: `nil` if there is no file to copy.
    func copy(_ path: String, to target: String, in root: String) throws(EmbeddedStoreError) -> Content? {
        guard access(path, F_OK) == 0 || errno != ENOENT else { return nil }
        try Self.makeFolders(for: target, in: root)
        let file = try Self.create(root + "/" + target)
        defer { close(file) }
        let content = try self.read(path) { piece throws(EmbeddedStoreError) in try Self.write(piece, to: file, target) }
        guard let content else {
            unlink(root + "/" + target)
            return nil
        }
        guard fsync(file) == 0 else { throw Self.failure("write", target) }
        return content
    }

    /// Writes a new file, on disk when this returns.
    func write(_ bytes: [UInt8], to path: String) throws(EmbeddedStoreError) -> Content {
        let file = try Self.create(path)
        defer { close(file) }
        let hash = self.makeHash()
        var failure: EmbeddedStoreError?
        bytes.withUnsafeBytes { all in
            hash.update(all)
            do throws(EmbeddedStoreError) { try Self.write(all, to: file, path) } catch { failure = error }
        }
        if let failure { throw failure }
        guard fsync(file) == 0 else { throw Self.failure("write", path) }
        return Content(bytes: bytes.count, hash: hash.finish())
    }

    /// The whole text of a small file; `nil` if it does not exist.
    func text(of path: String) throws(EmbeddedStoreError) -> String? {
        var bytes: [UInt8] = []
        let content = try self.read(path) { piece throws(EmbeddedStoreError) in bytes += piece }
        return content == nil ? nil : String(decoding: bytes, as: UTF8.self)
    }

    private func read(
        _ path: String, _ body: (UnsafeRawBufferPointer) throws(EmbeddedStoreError) -> Void
    ) throws(EmbeddedStoreError) -> Content? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw Self.unreadable(path)
        }
        defer { close(file) }
        let hash = self.makeHash()
        var bytes = 0
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceBytes, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = Glibc.read(file, buffer.baseAddress, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.failure("read", path) }
            guard count > 0 else { return Content(bytes: bytes, hash: hash.finish()) }
            let piece = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            hash.update(piece)
            bytes += count
            try body(piece)
        }
    }

    private static func create(_ path: String) throws(EmbeddedStoreError) -> Int32 {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, DataFolderAccess.fileMode)
        guard file >= 0 else { throw Self.failure("create", path) }
        return file
    }

    private static func write(
        _ bytes: UnsafeRawBufferPointer, to file: Int32, _ path: String
    ) throws(EmbeddedStoreError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(file, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.failure("write", path) }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    // MARK: Directories

    /// The names in a directory, without `.` and `..`; empty if it does not exist.
    static func names(in folder: String) throws(EmbeddedStoreError) -> [String] {
        guard let stream = opendir(folder) else {
            if errno == ENOENT { return [] }
            throw Self.failure("read", folder)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Deletes a file, or a directory with everything in it. Follows no symbolic links. A missing one is not an error.
    static func remove(_ path: String) throws(EmbeddedStoreError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in try Self.names(in: path) { try Self.remove(path + "/" + name) }
            guard rmdir(path) == 0 else { throw Self.failure("delete", path) }
        } else {
            guard unlink(path) == 0 else { throw Self.failure("delete", path) }
        }
    }

    /// Creates the directories of a relative path below `root`, with access for this user only.
    private static func makeFolders(for target: String, in root: String) throws(EmbeddedStoreError) {
        var path = root
        for name in target.split(separator: "/").dropLast() {
            path += "/" + name
            guard mkdir(path, DataFolderAccess.folderMode) == 0 || errno == EEXIST else { throw Self.failure("create", path) }
        }
    }

    /// Waits until the names in a directory and in the directories below it are on disk.
    static func synchronizeTree(_ folder: String) throws(EmbeddedStoreError) {
        for name in try Self.names(in: folder) {
            var status = stat()
            guard lstat(folder + "/" + name, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { continue }
            try Self.synchronizeTree(folder + "/" + name)
        }
        try Self.synchronize(folder)
    }

    /// Waits until a file, or the names in a directory, are on disk.
    static func synchronize(_ path: String) throws(EmbeddedStoreError) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Self.failure("open", path) }
        defer { close(file) }
        guard fsync(file) == 0 else { throw Self.failure("write", path) }
    }

    /// Makes a user the owner of a directory and everything in it. Follows no symbolic links in it.
    static func changeOwner(_ folder: String, uid: uid_t, gid: gid_t) throws(EmbeddedStoreError) {
        guard chown(folder, uid, gid) == 0 else { throw Self.failure("change the owner of", folder) }
        for name in try Self.names(in: folder) {
            let path = folder + "/" + name
            guard lchown(path, uid, gid) == 0 else { throw Self.failure("change the owner of", path) }
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { continue }
            try Self.changeOwner(path, uid: uid, gid: gid)
        }
    }

    /// The directory that has a path's last part, and that part.
    static func split(_ path: String) -> (folder: String, name: String) {
        var parts = path.split(separator: "/").map(String.init)
        let name = parts.popLast() ?? ""
        let folder = (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
        return (folder.isEmpty ? "." : folder, name)
    }

    // MARK: Errors

    /// The error of the last system call on a path.
    static func failure(_ verb: String, _ path: String) -> EmbeddedStoreError {
        EmbeddedStoreError(code: .folder, description: "Cannot \(verb) \(path): \(String(cString: strerror(errno))).")
    }

    /// The error of a file that cannot be opened for reading; names its owner if that is the reason.
    private static func unreadable(_ path: String) -> EmbeddedStoreError {
        let error = Self.failure("read", path)
        var status = stat()
        guard errno == EACCES, stat(path, &status) == 0 else { return error }
        return EmbeddedStoreError(
            code: .folder,
            description: "Cannot read \(path): it belongs to the user \(DataFolderAccess.user(status.st_uid)), and this process "
                + "runs as \(DataFolderAccess.user(geteuid())). Run the command as that user or as root.")
    }
}
