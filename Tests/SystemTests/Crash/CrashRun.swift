import FlowCore
import FlowTestKit

/// A run of writers and subscribers while something is killed repeatedly. Afterwards the replies to the writers and
/// the events of the subscribers are compared with the store.
struct CrashRun: Sendable {
    /// The instances on one store. A client connects to any of them, and to another one after each loss.
    let hubs: [HubProcess]
    var flows = ["orders-0", "orders-1", "orders-2"]
    var writers = 9
    /// The target of each subscriber.
    var targets: [StreamTarget]
    /// Range of the random number of acknowledgements between two crashes.
    var acknowledgementsPerCrash = 60...400
    /// Number of calls of ``crash``.
    var crashes: Int
    /// The run continues until this many publications were acknowledged.
    var minimumAcknowledgements = 0
    /// Maximum delay of an event after the reply to its writer. If it is set, streams must survive every crash
    /// without a resync. `nil` if hubs are killed.
    var longestLag: Duration?
    /// Kills a process and restarts it.
    let crash: @Sendable (_ random: inout SeededRandom) async throws -> Void

    private enum Part: Sendable {
        case writer(KillWriter)
        case subscriber
        case killer
    }

    /// - Returns: the violations that were found.
    func run(seed: UInt64) async throws -> [Violation] {
        var random = SeededRandom(seed: seed)
        let acknowledged = AsyncValue(0)
        let isOver = AsyncValue(false)
        let writers = (0..<self.writers).map { number in
            KillWriter(
                name: "writer-\(number)", flows: self.flows, hubs: self.hubs, acknowledged: acknowledged, random: random.fork())
        }
        let clients = self.targets.enumerated().map { number, target in
            EventStreamClient(target, port: self.hubs[number % self.hubs.count].port, name: "subscriber \(number) of \(target)")
        }
        let killerRandom = random.fork()
        let done = try await withThrowingTaskGroup(of: Part.self) { group in
            for writer in writers {
                group.addTask {
                    var writer = writer
                    try await writer.run { isOver.value }
                    return .writer(writer)
                }
            }
            for client in clients {
                group.addTask {
                    await self.keepConnected(client) { isOver.value }
                    return .subscriber
                }
            }
            group.addTask {
                defer { isOver.change { $0 = true } }
                try await self.keepCrashing(killerRandom, acknowledged)
                return .killer
            }
            var done: [KillWriter] = []
            for try await part in group { if case .writer(let writer) = part { done.append(writer) } }
            return done
        }
        return try await self.judge(done, clients)
    }

    private func keepConnected(_ client: EventStreamClient, until isOver: @Sendable () -> Bool) async {
        while !isOver() {
            if !client.isConnected {
                if let hub = self.hubs.randomElement() { client.move(to: hub.port) }
                // Fails while the hub is down.
                try? await client.connect()
            }
            _ = try? await client.waitUntil("the end", within: .milliseconds(20)) { $0.isConnected ? nil : () }
        }
    }

    private func keepCrashing(_ random: SeededRandom, _ acknowledged: AsyncValue<Int>) async throws {
        var random = random
        for _ in 0..<self.crashes {
            let goal = acknowledged.value + random.number(self.acknowledgementsPerCrash)
            try await acknowledged.wait(for: "\(goal) acknowledgements", within: .seconds(90)) { $0 >= goal ? () : nil }
            try await self.crash(&random)
        }
        let goal = max(acknowledged.value + 100, self.minimumAcknowledgements)
        try await acknowledged.wait(for: "\(goal) acknowledgements", within: .seconds(600)) { $0 >= goal ? () : nil }
    }

    // MARK: Checks

    private func judge(_ writers: [KillWriter], _ clients: [EventStreamClient]) async throws -> [Violation] {
        let api = self.hubs[0].api
        // The last crash may have killed a process that the hub depends on.
        try await eventually("the hub to read again") { (try? await api.history(of: self.flows[0])) != nil }
        var facts = StreamChecker.Facts(journals: [:], oldest: [:], epochs: [try await ModelRun.epoch(self.hubs[0], "show")])
        var violations: [Violation] = []
        var stored: [String: [JSONText: [Version]]] = [:]
        for flow in self.flows {
            let history = try await api.history(of: flow) ?? (0, [])
            let journal = FlowJournal(flow: flow, envelopes: history.events)
            facts.journals[flow] = journal
            facts.oldest[flow] = 1
            stored[flow] = KillWriter.storedVersions(in: journal)
            violations += StoreChecker.check(journal, version: history.version, events: history.events)
        }
        for writer in writers { violations += writer.check(against: stored) }
        let heads = facts.journals.mapValues(\.version)
        for client in clients {
            if let longestLag = self.longestLag, client.log.connections.count > 1 || !client.log.events("resync").isEmpty {
                let endings = client.log.connections.map { "\($0.ending.map { "\($0)" } ?? "open")" }
                violations.append(
                    Violation(client.name, "had more than a delay of \(longestLag): connections \(endings), or a resync"))
            }
            if !client.isConnected { try await client.connect() }
            // If a client does not get there, the checker reports the details.
            _ = try? await client.waitUntil("the end of the flows") { ModelSubscriber.isAt(heads, $0, client.target) ? () : nil }
            violations += StreamChecker.check(client.log, of: client.target, by: client.name, facts)
            client.disconnect()
            if let longestLag = self.longestLag { violations += Self.lagViolations(client, writers, longestLag) }
        }
        return violations
    }

    /// - Returns: a violation for the event that arrived latest after the reply to its writer, if that exceeds the
    ///   limit.
    private static func lagViolations(_ client: EventStreamClient, _ writers: [KillWriter], _ longest: Duration) -> [Violation] {
        var arrivals: [String: [Version: ContinuousClock.Instant]] = [:]
        for block in client.log.blocks where block.event == "order" {
            if let flow = block.flow, let version = block.version { arrivals[flow, default: [:]][version] = block.at }
        }
        var worst: (lag: Duration, what: String)?
        for publication in writers.flatMap(\.publications) {
            guard let acknowledgedAt = publication.acknowledgedAt else { continue }
            for version in publication.versions ?? [] {
                guard let arrival = arrivals[publication.flow]?[version], arrival - acknowledgedAt > worst?.lag ?? longest else {
                    continue
                }
                worst = (arrival - acknowledgedAt, "version \(version) of \(publication.flow)")
            }
        }
        return worst.map { [Violation(client.name, "received \($0.what) \($0.lag) after the reply to its writer")] } ?? []
    }
}

extension [Violation] {
    /// The first 10 violations as text.
    var listing: String { self.prefix(10).map { "\n  \($0)" }.joined() }
}
