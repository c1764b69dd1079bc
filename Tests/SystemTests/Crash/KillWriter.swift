import FlowCore
import FlowTestKit

/// One of several writers while what they write to is killed again and again. It remembers what it was told.
struct KillWriter: Sendable {
    /// Something that it asked for, and what it knows of the outcome.
    struct Order: Sendable {
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
    var orders: [Order] = []
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
            var order = self.nextOrder()
            while !isOver() {
                do {
                    order.versions = try await self.send(order, api)
                    order.acknowledgedAt = .now
                    self.acknowledged.change { $0 += 1 }
                    break
                } catch let refused as HubAPI.Refused {
                    throw refused
                } catch {
                    // What it was sent to is gone, or just goes.
                    try? await Task.sleep(for: .milliseconds(20))
                    api = self.random.any(of: self.hubs).api
                    // Without a key nobody knows whether it was carried out, and sending it again would be another order.
                    if order.key == nil { break }
                }
            }
            self.orders.append(order)
        }
    }

    private mutating func nextOrder() -> Order {
        let data = (0..<(self.random.chance(30) ? self.random.number(2...10) : 1)).map { _ -> JSONText in
            self.count += 1
            return .object {
                $0.key("w"); $0.value(self.name); $0.key("n"); $0.value(self.count)
            }
        }
        return Order(
            flow: self.random.any(of: self.flows), data: data, key: self.random.chance(50) ? "\(self.name)-\(self.count)" : nil)
    }

    private func send(_ order: Order, _ api: HubAPI) async throws -> [Version] {
        let api = order.key.map { api.with(header: "Idempotency-Key", $0) } ?? api
        let written = try await api.publish(order.data.map { ("order", $0) }, to: order.flow)
        // 503 outcome_unknown or draining is no answer.
        if written.status == 503 { throw AnswerLost(description: written.reply.text) }
        guard written.isAcknowledged else { throw HubAPI.Refused(reply: written.reply, what: "an order") }
        return Array(written.version - Version(order.data.count) + 1...written.version)
    }

    // MARK: Judgement

    /// Where each event's data stands in a flow's history.
    static func places(in journal: FlowJournal) -> [JSONText: [Version]] {
        var found: [JSONText: [Version]] = [:]
        for version in 1...max(1, journal.version) {
            if let data = journal.entry(version)?.payload.member("data") { found[data, default: []].append(version) }
        }
        return found
    }

    /// Holds what it was told against the whole histories of the flows.
    func check(against found: [String: [JSONText: [Version]]]) -> [Violation] {
        var violations: [Violation] = []
        for order in self.orders {
            let places = order.data.map { found[order.flow]?[$0] ?? [] }
            if let versions = order.versions, places != versions.map({ [$0] }) {
                violations.append(Violation(self.name, "was told \(versions) for \(order.data), the store holds it at \(places)"))
            }
            // Nobody knows whether it was carried out; but only as a whole, and once.
            let versions = places.compactMap(\.first)
            let isWhole = versions.count == order.data.count && zip(versions, versions.dropFirst()).allSatisfy { $0 + 1 == $1 }
            if order.versions == nil, places.contains(where: { $0.count > 1 }) || !(versions.isEmpty || isWhole) {
                violations.append(Violation(self.name, "has a part of \(order.data), or twice: \(places)"))
            }
        }
        return violations
    }
}
