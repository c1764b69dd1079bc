public import FlowCore

/// A promise that was broken.
public struct Violation: Sendable, CustomStringConvertible {
    public var who: String
    public var what: String
    /// Where in the subscriber's log, if it has one.
    public var connection: Int?
    public var block: String?

    public init(_ who: String, _ what: String, connection: Int? = nil, block: String? = nil) {
        self.who = who
        self.what = what
        self.connection = connection
        self.block = block
    }

    public var description: String {
        var text = self.who
        if let connection { text += " (connection \(connection))" }
        text += ": \(self.what)"
        if let block { text += " — at \(block)" }
        return text
    }
}

/// Compares a store's history with what its publisher was told.
public enum StoreChecker {
    /// - Parameters:
    ///   - version: the flow's, as the store says.
    ///   - events: what is left of its history.
    ///   - keeps: how many events the store was told to keep.
    public static func check(
        _ journal: FlowJournal, version: Version, events: [JSONText], keeps: Int = .max
    ) -> [Violation] {
        let who = "the store of \(journal.flow)"
        var violations: [Violation] = []
        if version != journal.version {
            violations.append(Violation(who, "is at version \(version), \(journal.version) was acknowledged"))
        }
        var expected = events.first?.member("version")?.intValue ?? version + 1
        if version + 1 - expected < min(Version(keeps), version) {
            violations.append(Violation(who, "begins with \(expected) of \(version), though \(keeps) events are kept"))
        }
        for event in events {
            let found = event.member("version")?.intValue ?? 0
            if found != expected { violations.append(Violation(who, "has \(found) where \(expected) should be")) }
            if let entry = journal.entry(found), !entry.isEquivalent(to: .init(envelope: event)) {
                violations.append(Violation(who, "has another event \(found) than was acknowledged: \(event), not \(entry)"))
            }
            expected = found + 1
        }
        if expected != version + 1 { violations.append(Violation(who, "ends with \(expected - 1), but is at \(version)")) }
        return violations
    }
}
