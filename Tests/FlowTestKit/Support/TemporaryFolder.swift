import Foundation

/// A new temporary folder for one test. Its creator must call ``remove()``.
public struct TemporaryFolder: Sendable {
    public let path: String

    public init() throws {
        self.path = NSTemporaryDirectory() + "flowhub-test-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true)
    }

    public func remove() { try? FileManager.default.removeItem(atPath: self.path) }
}
