import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// An exclusive file lock on a data directory. If two hubs used the same files, each would deliver events to its own
/// subscribers only. The lock is held until this object is released, or until the process ends in any way.
///
/// Commands that read the store or raise its epoch next to a running hub do not acquire it.
public final class DataFolderLock: Sendable {
    /// The operation that the lock makes exclusive.
    public enum Purpose: String, Sendable {
        /// Running a hub on the directory.
        case hub
        /// Moving the directory's imports to or from another store.
        case move
    }

    private let descriptor: Int32

    /// Creates the directory if it does not exist, and locks it without waiting.
    /// - Throws: ``EmbeddedStoreError`` if another process holds the lock, or the lock file cannot be opened or
    ///   locked.
    public init(directory: String, for purpose: Purpose = .hub) throws(EmbeddedStoreError) {
        try DataFolderAccess.makeFolder(directory)
        let path = directory + "/\(purpose.rawValue).lock"
        try DataFolderAccess.check(path, root: directory)
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, DataFolderAccess.fileMode)
        guard descriptor >= 0 else {
            let code = errno
            throw EmbeddedStoreError(
                code: .folder, description: "Cannot open the lock file \(path): \(String(cString: strerror(code))).")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let isHeld = errno == EWOULDBLOCK
            let holder = isHeld ? Self.holder(descriptor) : nil
            close(descriptor)
            guard isHeld else {
                throw EmbeddedStoreError(
                    code: .folder, description: "Cannot lock the file \(path). Use a data directory on a local disk.")
            }
            let process = holder.map { " (PID \($0))" } ?? ""
            let text =
                switch purpose {
                case .hub:
                    "Data directory \(directory) is in use by another hub\(process). "
                        + "Stop that hub, or use another directory with --data or FLOWHUB_DATA."
                case .move:
                    "Another process\(process) is moving the imports of data directory \(directory). "
                        + "Wait until that process has ended."
                }
            throw EmbeddedStoreError(code: .inUse, description: text)
        }
        self.descriptor = descriptor
        // The process id for the error message of other processes. A failure to write it is ignored.
        let line = Array("\(getpid())\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = pwrite(descriptor, line, line.count, 0)
    }

    deinit { close(self.descriptor) }

    /// The process id in the lock file; `nil` if it cannot be read.
    private static func holder(_ descriptor: Int32) -> Int32? {
        var line = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &line, line.count, 0)
        return Int32(String(decoding: line.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }
}
