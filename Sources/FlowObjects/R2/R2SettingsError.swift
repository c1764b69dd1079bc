/// An invalid setting of the object store. The text contains no credential, and no URL, which may contain one.
public struct R2SettingsError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Name of the environment variable.
    public let key: String
    /// The problem and its solution: the rest of a sentence that begins with ``key``.
    public let problem: String

    init(_ key: String, _ problem: String) {
        self.key = key
        self.problem = problem
    }

    public var description: String { "\(self.key) \(self.problem)" }
}
