/// One result of the diagnostics of `flowhub doctor`, described for operators.
public struct DoctorFinding: Hashable, Sendable {
    /// The severity of a finding.
    public enum Level: String, Sendable {
        case ok
        /// What was checked works, but the operator should change something.
        case warning
        /// What was checked does not work.
        case failure
    }

    public var level: Level
    /// What was checked, such as `postgres.migrations`.
    public var subject: String
    /// What was found.
    public var text: String
    /// What the operator should do; empty if nothing.
    public var advice: String

    public init(_ level: Level, _ subject: String, _ text: String, advice: String = "") {
        self.level = level
        self.subject = subject
        self.text = text
        self.advice = advice
    }
}
