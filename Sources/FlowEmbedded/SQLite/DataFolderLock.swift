import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// Keeps a folder for one hub: two on the same files would each tell its own subscribers only. Held until it is released, at
/// the latest when the process ends, however it does.
///
/// Commands that read the store or raise its epoch beside a running hub do not take it.
public final class DataFolderLock: Sendable {
    /// What a folder is kept for.
    public enum Purpose: String, Sendable {
        /// Serving from it.
        case hub
        /// Carrying its imports elsewhere.
        case move
    }

    private let descriptor: Int32

    /// Makes the folder if it is missing.
    /// - Throws: ``EmbeddedStoreError`` at once, if somebody else holds it.
    public init(directory: String, for purpose: Purpose = .hub) throws(EmbeddedStoreError) {
        try SQLiteDatabaseOpener.makeFolder(directory)
        let path = directory + "/\(purpose.rawValue).lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw EmbeddedStoreError(code: .folder, description: "The file \(path) cannot be opened.")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let isHeld = errno == EWOULDBLOCK
            let holder = isHeld ? Self.holder(descriptor) : nil
            close(descriptor)
            guard isHeld else {
                throw EmbeddedStoreError(
                    code: .folder, description: "The file \(path) cannot be locked. Keep the folder on a local disk.")
            }
            let process = holder.map { " (process \($0))" } ?? ""
            let text =
                switch purpose {
                case .hub:
                    "Another hub\(process) is running on the folder \(directory). "
                        + "End it, or give this one a folder of its own with --data or FLOWHUB_DATA."
                case .move: "Another process\(process) is moving the imports of the folder \(directory). Wait for its end."
                }
            throw EmbeddedStoreError(code: .inUse, description: text)
        }
        self.descriptor = descriptor
        // For whoever is refused. That it cannot be written is not this one's concern.
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
