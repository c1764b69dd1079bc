public import FlowCore

/// A broken guarantee that a checker has found.
public struct Violation: Sendable, CustomStringConvertible {
    public var source: String
    public var what: String
    /// Index of the connection in the subscriber's log; `nil` if the violation is not about a connection.
    public var connection: Int?
    public var block: String?

    public init(_ source: String, _ what: String, connection: Int? = nil, block: String? = nil) {
        self.source = source
        self.what = what
        self.connection = connection
        self.block = block
    }

    public var description: String {
        var text = self.source
        if let connection { text += " (connection \(connection))" }
        text += ": \(self.what)"
        if let block { text += " at block: \(block)" }
        return text
    }
}

/// Compares a store's history with the changes that it has acknowledged.
public enum StoreChecker {
    /// - Parameters:
    ///   - version: the flow's version in the store.
    ///   - events: the flow's stored history.
    ///   - keeps: the number of events that the store is configured to keep per flow.
    public static func check(
        _ journal: FlowJournal, version: Version, events: [JSONText], keeps: Int = .max
    ) -> [Violation] {
        let source = "the store of \(journal.flow)"
        var violations: [Violation] = []
        if version != journal.version {
            violations.append(Violation(source, "is at version \(version), but \(journal.version) was acknowledged"))
        }
        var expected = events.first?.member("version")?.intValue ?? version + 1
        if version + 1 - expected < min(Version(keeps), version) {
            violations.append(Violation(source, "starts at \(expected) of \(version), but must keep \(keeps) events"))
        }
        for event in events {
            let found = event.member("version")?.intValue ?? 0
            if found != expected { violations.append(Violation(source, "has version \(found) instead of \(expected)")) }
            if let entry = journal.entry(found), !entry.isEquivalent(to: .init(envelope: event)) {
                violations.append(Violation(source, "has event \(found) \(event), but \(entry) was acknowledged"))
            }
            expected = found + 1
        }
        if expected != version + 1 { violations.append(Violation(source, "ends with \(expected - 1), but is at \(version)")) }
        return violations
    }
}
