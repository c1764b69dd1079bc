import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// An open file or directory. Closed when the last reference is released.
final class OpenFile: Sendable {
    let descriptor: Int32

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(self.descriptor) }

    /// Opens a file or directory.
    /// - Parameter folder: the directory that a relative path starts from; `nil`: the working directory.
    /// - Returns: `nil` if it does not exist or is a symbolic link.
    static func open(
        _ path: String, in folder: OpenFile? = nil, _ flags: Int32, mode: mode_t = 0
    ) throws(ObjectError) -> OpenFile? {
        while true {
            let descriptor = openat(folder?.descriptor ?? AT_FDCWD, path, flags | O_CLOEXEC, mode)
            if descriptor >= 0 { return OpenFile(descriptor) }
            switch errno {
            case EINTR: continue
            case ENOENT, ENOTDIR, ELOOP: return nil
            case let code: throw FolderFailure.error(code)
            }
        }
    }

    /// Metadata of this file or directory.
    func info() throws(ObjectError) -> FileInfo {
        var status = stat()
        guard fstat(self.descriptor, &status) == 0 else { throw FolderFailure.error(errno) }
        return FileInfo(status)
    }

    /// Metadata of an entry of this directory; `nil` if the entry does not exist. A symbolic link is not followed: the
    /// metadata is that of the link.
    func info(of name: String) throws(ObjectError) -> FileInfo? {
        var status = stat()
        if fstatat(self.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 { return FileInfo(status) }
        guard errno == ENOENT || errno == ENOTDIR else { throw FolderFailure.error(errno) }
        return nil
    }

    /// Appends all bytes to the file.
    func write(_ bytes: [UInt8]) throws(ObjectError) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { all in
                let rest = UnsafeRawBufferPointer(rebasing: all[offset...])
                return Glibc.write(self.descriptor, rest.baseAddress, rest.count)
            }
            if count >= 0 { offset += count } else if errno != EINTR { throw FolderFailure.error(errno) }
        }
    }

    /// Reads a range of the file.
    /// - Returns: fewer bytes than requested only if the file ends before the range does.
    func read(_ range: Range<Int>) throws(ObjectError) -> [UInt8] {
        var failure: Int32?
        let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, filled in
            while filled < buffer.count {
                let rest = UnsafeMutableBufferPointer(rebasing: buffer[filled...])
                let count = pread(self.descriptor, rest.baseAddress, rest.count, off_t(range.lowerBound + filled))
                if count == 0 { break }
                if count > 0 {
                    filled += count
                } else if errno != EINTR {
                    failure = errno
                    break
                }
            }
        }
        if let failure { throw FolderFailure.error(failure) }
        return bytes
    }

    /// Waits until the contents are on disk (fsync).
    func synchronize() throws(ObjectError) {
        while fsync(self.descriptor) != 0 {
            if errno != EINTR { throw FolderFailure.error(errno) }
        }
    }

    /// Removes the name of a file from this directory.
    /// - Returns: whether a file had the name.
    @discardableResult
    func remove(_ name: String) throws(ObjectError) -> Bool {
        if unlinkat(self.descriptor, name, 0) == 0 { return true }
        switch errno {
        case ENOENT, EISDIR: return false
        case let code: throw FolderFailure.error(code)
        }
    }

    /// The regular files and directories in this directory, unsorted. Empty if the directory was removed.
    func entries() throws(ObjectError) -> [FolderEntry] {
        // A second descriptor with its own read position, so that two threads can list the directory at the same
        // time. `closedir` closes it.
        let own = openat(self.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard own >= 0, let stream = fdopendir(own) else {
            let code = errno
            if own >= 0 { close(own) }
            if code == ENOENT { return [] }
            throw FolderFailure.error(code)
        }
        defer { closedir(stream) }
        var entries: [FolderEntry] = []
        while true {
            errno = 0
            guard let entry = Glibc.readdir(stream) else {
                if errno == 0 || errno == ENOENT { return entries }
                throw FolderFailure.error(errno)
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            let kind = Int32(entry.pointee.d_type)
            if kind == DT_DIR {
                entries.append(FolderEntry(name: name, isFolder: true))
            } else if kind == DT_REG {
                entries.append(FolderEntry(name: name, isFolder: false))
            } else if kind == DT_UNKNOWN, let info = try self.info(of: name), info.kind != .other {
                entries.append(FolderEntry(name: name, isFolder: info.kind == .folder))
            }
        }
    }
}

/// A file or directory in a directory.
struct FolderEntry: Hashable, Sendable {
    let name: String
    let isFolder: Bool

    /// The part of the path that this entry adds, with a slash for a directory. Sorting needs the slash, because some
    /// characters of keys sort before it and others after it.
    var pathPart: String { self.isFolder ? self.name + "/" : self.name }
}

/// Metadata of a file system entry.
struct FileInfo: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        /// A regular file.
        case file
        /// A directory.
        case folder
        /// Anything else, such as a symbolic link or a socket.
        case other
    }

    let kind: Kind
    let size: Int
    let inode: UInt64
    let modifiedSeconds: Int
    let modifiedNanoseconds: Int

    init(_ status: stat) {
        switch status.st_mode & S_IFMT {
        case S_IFREG: self.kind = .file
        case S_IFDIR: self.kind = .folder
        default: self.kind = .other
        }
        self.size = Int(status.st_size)
        self.inode = UInt64(status.st_ino)
        self.modifiedSeconds = status.st_mtim.tv_sec
        self.modifiedNanoseconds = status.st_mtim.tv_nsec
    }

    /// The key, size, ETag and time of the object whose file has this metadata. The ETag consists of size, modification
    /// time and inode, which identify the bytes, because a stored file is never modified.
    func object(_ key: String) -> ObjectInfo {
        let modified = Int64(self.modifiedSeconds) * 1_000 + Int64(self.modifiedNanoseconds) / 1_000_000
        let tag = [self.size, self.modifiedSeconds, self.modifiedNanoseconds].map { String($0, radix: 16) }
        return ObjectInfo(
            key: key, size: self.size, etag: (tag + [String(self.inode, radix: 16)]).joined(separator: "-"),
            lastModified: Timestamp(milliseconds: modified))
    }
}
