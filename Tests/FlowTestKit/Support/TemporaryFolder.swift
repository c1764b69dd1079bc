import Foundation
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// A new temporary folder for one test. Its creator must call ``remove()``.
public struct TemporaryFolder: Sendable {
    public let path: String

    public init() throws {
        self.path = NSTemporaryDirectory() + "flowhub-test-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true)
    }

    public func remove() { try? FileManager.default.removeItem(atPath: self.path) }

    /// Removes the folder when this process exits, for what all tests share.
    func removeAtExit() {
        let isFirst = Self.shared.withLock { folders in
            folders.append(self)
            return folders.count == 1
        }
        if isFirst { atexit { for folder in TemporaryFolder.shared.withLock({ $0 }) { folder.remove() } } }
    }

    private static let shared = Mutex<[TemporaryFolder]>([])
}
