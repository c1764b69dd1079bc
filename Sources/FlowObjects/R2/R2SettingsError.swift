/// A setting of the object store that makes no sense. Its text holds no value.
public struct R2SettingsError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name in the environment.
    public let key: String
    /// What is wrong and what to do: the rest of a sentence that begins with the key.
    public let problem: String

    init(_ key: String, _ problem: String) {
        self.key = key
        self.problem = problem
    }

    public var description: String { "\(self.key) \(self.problem)" }
}
