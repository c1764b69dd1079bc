import FlowCore
import FlowTestKit

extension FlowWriter {
    // MARK: Reading

    /// Reads the flow and checks that it equals what was acknowledged.
    mutating func read(_ api: HubAPI) async throws {
        let stored = try await Self.attempt { try await api.state(of: self.flow) }
        let now = self.journal.now
        guard let stored else {
            if now.exists { self.report("the flow does not exist, but version \(self.journal.version) was acknowledged") }
            return
        }
        if stored.version != self.journal.version || !stored.state.isEquivalent(to: now.state) || !now.exists {
            self.report("reads \(stored.state) at \(stored.version); acknowledged is \(now.state) at \(self.journal.version)")
        }
    }

    // MARK: Random values

    static func status(_ status: String) -> JSONText {
        .object {
            $0.key("status"); $0.value(status)
        }
    }

    mutating func somePatch() -> JSONText {
        if self.random.chance(8) { return .emptyObject }
        return self.object(allowsNull: true)
    }

    mutating func someObject() -> JSONText { self.object(allowsNull: false) }

    private mutating func object(allowsNull: Bool) -> JSONText {
        var members: [(String, JSONText)] = []
        for key in ["a", "b", "c", "d"].shuffled(using: &self.random).prefix(self.random.number(1...3)) {
            let value: JSONText =
                switch self.random.number(0...4) {
                case 0 where allowsNull: .null
                case 1:
                    .object {
                        $0.key("x"); $0.value(self.random.number(0...3))
                    }
                case 2:
                    .array {
                        $0.value(self.random.number(0...9)); $0.value("ü\n\u{1F600}")
                    }
                default: JSONText.array { $0.value(self.random.number(0...5)) }.elements[0]
                }
            members.append((key, value))
        }
        return .object { writer in
            for (key, value) in members {
                writer.key(key)
                writer.raw(value)
            }
        }
    }
}
