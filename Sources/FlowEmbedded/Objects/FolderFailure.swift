import FlowCore

#if canImport(Glibc)
import Glibc
#endif

/// What a call of the file system that failed means for an object store.
enum FolderFailure {
    static func error(_ code: Int32) -> ObjectError {
        switch code {
        case ENOSPC, EDQUOT: .unavailable("The disk of the objects' folder is full: make room on it.")
        case EMFILE, ENFILE: .unavailable("Too many files are open: raise the limit of open files (LimitNOFILE, ulimit -n).")
        case ENAMETOOLONG: .invalid("A segment of the key is longer than the file system allows, usually 255 bytes.")
        case EFBIG: .refused("The object is larger than the file system allows.")
        case EACCES, EPERM: .refused("The objects' folder belongs to somebody else: give it to the user that the hub runs as.")
        case EROFS: .refused("The objects' folder is on a file system that is read-only.")
        default: .unavailable("The objects' folder: \(String(cString: strerror(code))).")
        }
    }

    static let noLinks = ObjectError.refused(
        "The file system of the objects' folder has no hard links: keep it on a local disk (ext4, xfs, btrfs).")
    static let isFolder = ObjectError.refused("The key is the beginning of another one's path, which a folder cannot hold.")
    static let isBlocked = ObjectError.refused(
        "A folder on the key's path is an object, a symbolic link, or another file that is not the hub's.")
    static let aborted = ObjectError.refused("The upload was given up by somebody else.")
}
