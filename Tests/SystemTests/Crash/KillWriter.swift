import FlowCore
import FlowTestKit

/// One of several writers while what they write to is killed again and again. It remembers what it was told.
struct KillWriter: Sendable {
    /// Something that it asked for, and what it knows of the outcome.
    struct Publication: Sendable {
        var flow: String
        var data: [JSONText]
        /// Of each event, if the order was acknowledged.
        var versions: [Version]?
        var acknowledgedAt: ContinuousClock.Instant?
        /// Carried out at most once, however often it was sent.
        var key: String?
    }

    let name: String
    let flows: [String]
    /// Any of which may take an order.
    let hubs: [HubProcess]
    let acknowledged: AsyncValue<Int>
    var random: SeededRandom
    var publications: [Publication] = []
    private var count = 0

    init(name: String, flows: [String], hubs: [HubProcess], acknowledged: AsyncValue<Int>, random: SeededRandom) {
        self.name = name
        self.flows = flows
        self.hubs = hubs
        self.acknowledged = acknowledged
        self.random = random
    }

    mutating func run(until isOver: @Sendable () -> Bool) async throws {
        var api = self.random.any(of: self.hubs).api
        while !isOver() {
            var publication = self.nextPublication()
            while !isOver() {
                do {
                    publication.versions = try await self.send(publication, api)
                    publication.acknowledgedAt = .now
                    self.acknowledged.change { $0 += 1 }
                    break
                } catch let rejection as HubAPI.UnexpectedReply {
                    throw rejection
                } catch {
                    // What it was sent to is gone, or just goes.
                    try? await Task.sleep(for: .milliseconds(20))
                    api = self.random.any(of: self.hubs).api
                    // Without a key nobody knows whether it was carried out, and sending it again would be another order.
                    if publication.key == nil { break }
                }
            }
            self.publications.append(publication)
        }
    }

    private mutating func nextPublication() -> Publication {
        let data = (0..<(self.random.chance(30) ? self.random.number(2...10) : 1)).map { _ -> JSONText in
            self.count += 1
            return .object {
                $0.key("w"); $0.value(self.name); $0.key("n"); $0.value(self.count)
            }
        }
        return Publication(
            flow: self.random.any(of: self.flows), data: data, key: self.random.chance(50) ? "\(self.name)-\(self.count)" : nil)
    }

    private func send(_ publication: Publication, _ api: HubAPI) async throws -> [Version] {
        let api = publication.key.map { api.with(header: "Idempotency-Key", $0) } ?? api
        let written = try await api.publish(publication.data.map { ("order", $0) }, to: publication.flow)
        // 503 outcome_unknown or draining is no answer.
        if written.status == 503 { throw AnswerLost(description: written.reply.text) }
        guard written.isAcknowledged else { throw HubAPI.UnexpectedReply(reply: written.reply, what: "an order") }
        return Array(written.version - Version(publication.data.count) + 1...written.version)
    }

    // MARK: Judgement

    /// Where each event's data stands in a flow's history.
    static func storedVersions(in journal: FlowJournal) -> [JSONText: [Version]] {
        var found: [JSONText: [Version]] = [:]
        for version in 1...max(1, journal.version) {
            if let data = journal.entry(version)?.payload.member("data") { found[data, default: []].append(version) }
        }
        return found
    }

    /// Holds what it was told against the whole histories of the flows.
    func check(against found: [String: [JSONText: [Version]]]) -> [Violation] {
        var violations: [Violation] = []
        for publication in self.publications {
            let stored = publication.data.map { found[publication.flow]?[$0] ?? [] }
            if let versions = publication.versions, stored != versions.map({ [$0] }) {
                violations.append(
                    Violation(self.name, "was told \(versions) for \(publication.data), the store holds it at \(stored)"))
            }
            // Nobody knows whether it was carried out; but only as a whole, and once.
            let versions = stored.compactMap(\.first)
            let isWhole =
                versions.count == publication.data.count && zip(versions, versions.dropFirst()).allSatisfy { $0 + 1 == $1 }
            if publication.versions == nil, stored.contains(where: { $0.count > 1 }) || !(versions.isEmpty || isWhole) {
                violations.append(Violation(self.name, "has a part of \(publication.data), or twice: \(stored)"))
            }
        }
        return violations
    }
}
