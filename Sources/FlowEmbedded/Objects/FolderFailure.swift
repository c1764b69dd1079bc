import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// Maps errors of file system calls to object store errors.
enum FolderFailure {
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

    static let noLinks = ObjectError.rejected(
        "The file system of the object directory has no hard links. Use a local disk (ext4, xfs, btrfs).")
    static let isFolder = ObjectError.rejected(
        "The key is a prefix of another object's path, which folder storage does not support.")
    static let isBlocked = ObjectError.rejected(
        "A directory on the key's path is an object, a symbolic link, or a file that the hub did not create.")
    static let aborted = ObjectError.rejected("The upload was aborted by another process.")
}
