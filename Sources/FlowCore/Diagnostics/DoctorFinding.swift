/// One thing that an examination of the hub's surroundings found, in words for its operator.
public struct DoctorFinding: Hashable, Sendable {
    public enum Level: String, Sendable {
        case ok
        /// It works, and something should be done about it.
        case warning
        /// It does not work.
        case failure
    }

    public var level: Level
    /// What was looked at, as `postgres.migrations`.
    public var subject: String
    public var text: String
    /// What to do; empty where nothing is to be done.
    public var advice: String

    public init(_ level: Level, _ subject: String, _ text: String, advice: String = "") {
        self.level = level
        self.subject = subject
        self.text = text
        self.advice = advice
    }
}
