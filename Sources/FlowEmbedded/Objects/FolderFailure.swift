import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// Maps errors of file system calls to object store errors.
enum FolderFailure {
    /// The object store error for an `errno` of a file system call.
    static func error(_ code: Int32) -> ObjectError {
        switch code {
        case ENOSPC, EDQUOT: .unavailable("The disk of the object directory is full. Free some space.")
        case EMFILE, ENFILE: .unavailable("Too many open files. Raise the limit (LimitNOFILE, ulimit -n).")
        case ENAMETOOLONG: .invalid("A segment of the key exceeds the file system's limit, usually 255 bytes.")
        case EFBIG: .rejected("The object exceeds the file system's maximum file size.")
        case EACCES, EPERM: .rejected("Permission denied in the object directory. The hub's user must own it.")
        case EROFS: .rejected("The file system of the object directory is read-only.")
        default: .unavailable("File system error in the object directory: \(String(cString: strerror(code))).")
        }
    }

    /// The error if the file system does not support hard links (`linkat`).
    static let noLinks = ObjectError.rejected(
        "The file system of the object directory has no hard links. Use a local disk (ext4, xfs, btrfs).")
    /// The error if the path of the object's key is an existing directory.
    static let isFolder = ObjectError.rejected(
        "The object's key is a directory in the path of another object. Storage in a directory does not support that.")
    /// The error if a parent directory of the key's path cannot be created, because a file, a link or the like has its
    /// name.
    static let isBlocked = ObjectError.rejected(
        "The object's key leads through an object, a symbolic link or another file instead of a directory.")
    /// The error if another process has deleted the file of the unfinished upload.
    static let aborted = ObjectError.rejected("The upload was aborted by another process.")
}
