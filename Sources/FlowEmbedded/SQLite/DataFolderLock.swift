import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// An exclusive file lock on a data directory. Two hubs on the same files would each deliver events to their own
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
        try SQLiteDatabaseOpener.makeFolder(directory)
        let path = directory + "/\(purpose.rawValue).lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw EmbeddedStoreError(code: .folder, description: "Cannot open the file \(path).")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let isHeld = errno == EWOULDBLOCK
            let holder = isHeld ? Self.holder(descriptor) : nil
            close(descriptor)
            guard isHeld else {
                throw EmbeddedStoreError(
                    code: .folder, description: "Cannot lock the file \(path). Use a directory on a local disk.")
            }
            let process = holder.map { " (PID \($0))" } ?? ""
            let text =
                switch purpose {
                case .hub:
                    "Directory \(directory) is in use by another hub\(process). "
                        + "Stop it, or use another directory with --data or FLOWHUB_DATA."
                case .move:
                    "Imports of directory \(directory) are being moved by another process\(process). Wait until it has ended."
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

    private static func holder(_ descriptor: Int32) -> Int32? {
        var line = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &line, line.count, 0)
        return Int32(String(decoding: line.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }
}
