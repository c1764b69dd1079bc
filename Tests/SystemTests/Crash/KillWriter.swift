import FlowCore
import FlowTestKit

/// One of several writers while their hubs or store are killed repeatedly. It records the replies.
struct KillWriter: Sendable {
    /// A publication and what the writer knows of its outcome.
    struct Publication: Sendable {
        var flow: String
        var data: [JSONText]
        /// Version of each event, if the publication was acknowledged.
        var versions: [Version]?
        var acknowledgedAt: ContinuousClock.Instant?
        /// Idempotency key: with it, the publication takes effect at most once, however often it is sent.
        var key: String?
    }

    let name: String
    let flows: [String]
    /// The instances to which it may publish.
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
                    // The hub is down or shutting down.
                    try? await Task.sleep(for: .milliseconds(20))
                    api = self.random.any(of: self.hubs).api
                    // Without a key the outcome stays unknown, and sending it again might publish it twice.
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
        // After 503 `outcome_unknown` or `draining` the outcome is unknown.
        if written.status == 503 { throw AnswerLost(description: written.reply.text) }
        guard written.isAcknowledged else { throw HubAPI.UnexpectedReply(reply: written.reply, what: "an order") }
        return Array(written.version - Version(publication.data.count) + 1...written.version)
    }

    // MARK: Checks

    /// The versions of each event's data in a flow's history.
    static func storedVersions(in journal: FlowJournal) -> [JSONText: [Version]] {
        var found: [JSONText: [Version]] = [:]
        for version in 1...max(1, journal.version) {
            if let data = journal.entry(version)?.payload.member("data") { found[data, default: []].append(version) }
        }
        return found
    }

    /// Compares the recorded replies with the complete histories of the flows.
    func check(against found: [String: [JSONText: [Version]]]) -> [Violation] {
        var violations: [Violation] = []
        for publication in self.publications {
            let stored = publication.data.map { found[publication.flow]?[$0] ?? [] }
            if let versions = publication.versions, stored != versions.map({ [$0] }) {
                violations.append(
                    Violation(self.name, "got \(versions) for \(publication.data), but the store has it at \(stored)"))
            }
            // The outcome is unknown, but it must be complete and happen only once.
            let versions = stored.compactMap(\.first)
            let isWhole =
                versions.count == publication.data.count && zip(versions, versions.dropFirst()).allSatisfy { $0 + 1 == $1 }
            if publication.versions == nil, stored.contains(where: { $0.count > 1 }) || !(versions.isEmpty || isWhole) {
                violations.append(Violation(self.name, "found a part of \(publication.data), or found it twice: \(stored)"))
            }
        }
        return violations
    }
}
