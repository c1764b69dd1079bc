import Foundation

/// A folder of one test's own, removed afterwards.
public struct TemporaryFolder: Sendable {
    public let path: String

    public init() throws {
        self.path = NSTemporaryDirectory() + "flowhub-test-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true)
    }

    public func remove() { try? FileManager.default.removeItem(atPath: self.path) }
}
