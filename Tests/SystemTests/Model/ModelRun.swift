import FlowCore
import FlowTestKit
import Synchronization

/// One run of the model: a hub, a writer per flow, subscribers that connect and disconnect, and restarts of the hub. After
/// each round all activity ends, and what the subscribers received is checked against what was acknowledged.
struct ModelRun {
    let seed: UInt64
    var schedule = ModelSchedule()

    /// What was found in a run, and whether the run has reached what it is about.
    struct Outcome: Sendable {
        var violations: [Violation] = []
        /// Number of times that the simulated fault has changed something.
        var faultOccasions = 0
        /// Number of times that a subscriber was slow, by the hub's metrics.
        var slowSubscribers = 0.0
    }

    /// - Returns: the violations that were found; empty if none.
    func run() async throws -> [Violation] { try await self.outcome().violations }

    func outcome() async throws -> Outcome {
        try await HubProcess.running(self.schedule.allSettings) { hub in try await self.run(on: hub) }
    }

    private func run(on hub: HubProcess) async throws -> Outcome {
        var random = SeededRandom(seed: self.seed)
        let flows = (0..<self.schedule.flows).map { "flow-\($0)" }
        let crowd = (0..<self.schedule.crowd).map { "crowd-\($0)" }
        var crowdSchedule = self.schedule
        crowdSchedule.steps = self.schedule.crowdSteps
        var writers = flows.map { FlowWriter(flow: $0, hub: hub, schedule: self.schedule, random: random.fork()) }
        writers += crowd.prefix(self.schedule.crowdWriters).map {
            FlowWriter(flow: $0, hub: hub, schedule: crowdSchedule, random: random.fork())
        }
        var subscribers = (0..<self.schedule.subscribers).map {
            ModelSubscriber(number: $0, flows: flows, hub: hub, schedule: self.schedule, random: random.fork())
        }
        subscribers += (0..<self.schedule.crowdSubscribers).map {
            ModelSubscriber(
                number: self.schedule.subscribers + $0, crowd: flows + crowd, hub: hub, schedule: self.schedule,
                random: random.fork())
        }
        var epochs: Set<Epoch> = [try await Self.epoch(hub, "show")]
        var violations: [Violation] = []
        for _ in 0..<self.schedule.rounds {
            let round = try await self.round(writers, subscribers, hub, random.fork())
            (writers, subscribers) = (round.writers, round.subscribers)
            epochs.formUnion(round.epochs)
            violations = round.violations + (try await self.check(writers, subscribers, hub, epochs))
            if !violations.isEmpty { break }
        }
        for subscriber in subscribers { subscriber.client.disconnect() }
        return Outcome(
            violations: violations,
            faultOccasions: writers.reduce(0) { $0 + $1.faultOccasions }
                + subscribers.reduce(0) { $0 + $1.client.faultOccasions },
            slowSubscribers: try await hub.api.metric("flowhub_slow_readers_total") ?? 0)
    }

    static func epoch(_ hub: HubProcess, _ command: String) async throws -> Epoch {
        let result = try await hub.command(["epoch", command])
        guard let epoch = Epoch(result.output.filter { !$0.isWhitespace }) else {
            throw ChildProcess.Failure(description: "flowhub epoch \(command): \(result)")
        }
        return epoch
    }

    // MARK: A round

    private enum Part: Sendable {
        case writer(Int, FlowWriter)
        case subscriber(Int, ModelSubscriber)
        case reader([Violation])
        case disruptor(Set<Epoch>)
    }

    private func round(
        _ writers: [FlowWriter], _ subscribers: [ModelSubscriber], _ hub: HubProcess, _ random: SeededRandom
    ) async throws -> (writers: [FlowWriter], subscribers: [ModelSubscriber], epochs: Set<Epoch>, violations: [Violation]) {
        let writing = AsyncValue(writers.count)
        let schedule = self.schedule
        return try await withThrowingTaskGroup(of: Part.self) { group in
            for (index, writer) in writers.enumerated() {
                group.addTask {
                    defer { writing.change { $0 -= 1 } }
                    var writer = writer
                    try await writer.run()
                    return .writer(index, writer)
                }
            }
            for (index, subscriber) in subscribers.enumerated() {
                group.addTask {
                    var subscriber = subscriber
                    await subscriber.run { writing.value == 0 }
                    return .subscriber(index, subscriber)
                }
            }
            for flow in writers.prefix(schedule.flows).map(\.flow) {
                for _ in 0..<schedule.readers {
                    group.addTask { .reader(try await Self.read(flow, hub) { writing.value == 0 }) }
                }
            }
            group.addTask { .disruptor(try await Self.disrupt(hub, schedule.disruptions, random)) }
            var (writers, subscribers, epochs, violations) = (writers, subscribers, Set<Epoch>(), [Violation]())
            for try await part in group {
                switch part {
                case .writer(let index, let writer): writers[index] = writer
                case .subscriber(let index, let subscriber): subscribers[index] = subscriber
                case .reader(let found): violations += found
                case .disruptor(let raised): epochs = raised
                }
            }
            return (writers, subscribers, epochs, violations)
        }
    }

    private static func disrupt(
        _ hub: HubProcess, _ disruptions: [ModelSchedule.Disruption], _ random: SeededRandom
    ) async throws -> Set<Epoch> {
        var random = random
        var epochs = Set<Epoch>()
        for disruption in disruptions {
            try await Task.sleep(for: .milliseconds(random.number(50...400)))
            switch disruption {
            case .terminate:
                try await hub.terminate()
                try await hub.start()
            case .kill:
                try await hub.kill()
                try await hub.start()
            case .raiseEpoch: epochs.insert(try await Self.epoch(hub, "bump"))
            }
        }
        return epochs
    }

    /// Reads a state every 5 ms until the round is over. Its version must never decrease.
    private static func read(_ flow: String, _ hub: HubProcess, until isOver: @Sendable () -> Bool) async throws -> [Violation] {
        let api = hub.api
        var highest: Version = 0
        var violations: [Violation] = []
        while !isOver() {
            try await Task.sleep(for: .milliseconds(5))
            // The hub may be restarting, or the flow deleted.
            guard let stored = try? await api.state(of: flow) else { continue }
            if stored.version < highest {
                violations.append(Violation("a reader of \(flow)", "reads version \(stored.version) after \(highest)"))
            }
            highest = max(highest, stored.version)
        }
        return violations
    }

    // MARK: Checks

    private func check(
        _ writers: [FlowWriter], _ subscribers: [ModelSubscriber], _ hub: HubProcess, _ epochs: Set<Epoch>
    ) async throws -> [Violation] {
        let heads = Dictionary(uniqueKeysWithValues: writers.map { ($0.flow, $0.journal.version) })
        await withTaskGroup { group in
            for subscriber in subscribers { group.addTask { await subscriber.settle(at: heads) } }
        }
        var violations = writers.flatMap(\.violations)
        var facts = StreamChecker.Facts(journals: [:], oldest: [:], epochs: epochs)
        let api = hub.api
        for writer in writers {
            let journal = writer.journal
            if self.schedule.awaitsPruning {
                try await eventually("the history of \(writer.flow) to be pruned") {
                    (try await api.history(of: writer.flow)?.events.count ?? 0) <= self.schedule.historyEvents
                }
            }
            facts.journals[writer.flow] = journal
            let history = try await api.history(of: writer.flow) ?? (0, [])
            violations += StoreChecker.check(
                journal, version: history.version, events: history.events, keeps: self.schedule.historyEvents)
            facts.oldest[writer.flow] = history.events.first?.member("version")?.intValue ?? history.version + 1
        }
        for subscriber in subscribers {
            let client = subscriber.client
            violations += StreamChecker.check(client.log, of: client.target, by: client.name, facts)
        }
        return violations
    }
}
