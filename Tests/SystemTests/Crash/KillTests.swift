import FlowCore
import FlowTestKit
import Testing

/// `kill -9` in the middle of everything.
@Suite(.serialized) struct KillTests {
    private static let kills = TestScale.pick(3, full: 20)

    @Test func what_was_acknowledged_survives_and_nobody_misses_it() async throws {
        let seed = UInt64.random(in: 1...999_999)
        let violations = try await HubProcess.running([
            "FLOWHUB_HISTORY_EVENTS": "10000000", "FLOWHUB_RETRY_MS": "50",
        ]) { try await Self.run(on: $0, seed: seed) }
        #expect(violations.isEmpty, "seed \(seed): \(violations.prefix(10).map { "\n  \($0)" }.joined())")
    }

    private enum Part: Sendable {
        case writer(KillWriter)
        case subscriber
        case killer
    }

    private static func run(on hub: HubProcess, seed: UInt64) async throws -> [Violation] {
        var random = SeededRandom(seed: seed)
        let flows = ["orders-0", "orders-1", "orders-2"]
        let acknowledged = Watched(0)
        let isOver = Watched(false)
        let writers = (0..<9).map {
            KillWriter(name: "writer-\($0)", flow: flows[$0 % 3], hub: hub, acknowledged: acknowledged, random: random.fork())
        }
        let clients = (0..<9).map { number in
            let target = number < 6 ? StreamTarget.flow(flows[number % 3]) : .flows(flows)
            return EventStreamClient(target, port: hub.port, name: "subscriber \(number) of \(target)")
        }
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
                    while !isOver.value {
                        // Refused while the hub is away.
                        if !client.isConnected { try? await client.connect() }
                        _ = try? await client.waitUntil("the end", within: .milliseconds(20)) { $0.isConnected ? nil : () }
                    }
                    return .subscriber
                }
            }
            group.addTask {
                defer { isOver.change { $0 = true } }
                for _ in 0..<Self.kills {
                    // Only under load: some dozens of answers after the start, at another moment each time.
                    let goal = acknowledged.value + Int.random(in: 60...400)
                    try await acknowledged.wait(for: "\(goal) acknowledgements", within: .seconds(60)) { $0 >= goal ? () : nil }
                    try await hub.kill()
                    try await hub.start()
                }
                let goal = acknowledged.value + 100
                try await acknowledged.wait(for: "\(goal) acknowledgements", within: .seconds(60)) { $0 >= goal ? () : nil }
                return .killer
            }
            var done: [KillWriter] = []
            for try await part in group { if case .writer(let writer) = part { done.append(writer) } }
            return done
        }
        return try await Self.judge(done, clients, flows, hub)
    }

    private static func judge(
        _ writers: [KillWriter], _ clients: [EventStreamClient], _ flows: [String], _ hub: HubProcess
    ) async throws -> [Violation] {
        var facts = StreamChecker.Facts(journals: [:], oldest: [:], epochs: [try await ModelRun.epoch(hub, "show")])
        var violations: [Violation] = []
        for flow in flows {
            let history = try await hub.api.history(of: flow) ?? (0, [])
            let journal = FlowJournal(flow: flow, envelopes: history.events)
            facts.journals[flow] = journal
            facts.oldest[flow] = 1
            violations += StoreChecker.check(journal, version: history.version, events: history.events)
        }
        for writer in writers {
            if let journal = facts.journals[writer.flow] { violations += writer.check(against: journal) }
        }
        let heads = facts.journals.mapValues(\.version)
        for client in clients {
            if !client.isConnected { try await client.connect() }
            // The checker says more about one that does not get there.
            _ = try? await client.waitUntil("the end of the flows") { ModelSubscriber.isAt(heads, $0, client.target) ? () : nil }
            violations += StreamChecker.check(client.log, of: client.target, by: client.name, facts)
            client.disconnect()
        }
        return violations
    }
}
