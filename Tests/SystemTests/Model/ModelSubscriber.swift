import FlowCore
import FlowTestKit

/// A subscriber that connects, disconnects and pauses at random, according to its seed.
struct ModelSubscriber: Sendable {
    let client: EventStreamClient
    let hub: HubProcess
    let schedule: ModelSchedule
    let isNarrow: Bool
    /// Whether a defect of its stream is simulated.
    let isFaulty: Bool
    var random: SeededRandom

    /// The start of the names of subscribers with a simulated defect.
    static let faultyName = "faulty subscriber"

    init(number: Int, flows: [String], hub: HubProcess, schedule: ModelSchedule, random: SeededRandom) {
        var random = random
        var target = StreamTarget.flow(flows.randomElement(using: &random) ?? "")
        if random.chance(schedule.sharedPercent) {
            target = .flows(Array(flows.shuffled(using: &random).prefix(random.number(1...flows.count))))
        }
        if random.chance(schedule.filteredPercent) {
            let choices = [["alpha"], ["beta", "tick"], ["state_update", "flow_deleted"], ["nothing.of.this"]]
            target.types = choices.randomElement(using: &random)
        }
        self.init(target, number: number, hub: hub, schedule: schedule, random: random)
    }

    /// A subscriber with one POST stream of all flows.
    init(number: Int, crowd flows: [String], hub: HubProcess, schedule: ModelSchedule, random: SeededRandom) {
        var random = random
        var target = StreamTarget.posted(flows.shuffled(using: &random), method: random.chance(30) ? "QUERY" : "POST")
        if random.chance(schedule.filteredPercent) { target.types = ["alpha", "tick"] }
        self.init(target, number: number, hub: hub, schedule: schedule, random: random)
    }

    private init(_ target: StreamTarget, number: Int, hub: HubProcess, schedule: ModelSchedule, random: SeededRandom) {
        var (target, random) = (target, random)
        target.wantsSnapshot = !random.chance(schedule.headPercent)
        target.wantsPresence = random.chance(20)
        self.isNarrow = random.chance(schedule.narrowPercent)
        self.isFaulty = schedule.streamFault != nil && number % 2 == 1
        self.client = EventStreamClient(
            target, port: hub.port, name: (self.isFaulty ? Self.faultyName : "subscriber") + " \(number) of \(target)",
            options: .init(isNarrow: self.isNarrow), fault: self.isFaulty ? schedule.streamFault : nil)
        self.hub = hub
        self.schedule = schedule
        self.random = random
    }

    /// - Parameter isOver: whether all writers have finished.
    mutating func run(until isOver: @Sendable () -> Bool) async {
        while !isOver() {
            switch self.random.pick(self.schedule.moves) {
            case .connect: if !self.client.isConnected { await self.connect() }
            case .disconnect: self.client.disconnect()
            case .reset: self.client.reset()
            case .disconnectWithinBlock: self.client.disconnect(afterBytes: self.random.number(1...3_000))
            case .stopReading: if self.isNarrow { try? await self.client.stopReading() }
            case .read: try? await self.client.read()
            case .linger: break
            }
            // Wait for up to 20 more blocks, at most 60 ms.
            let seen = self.client.log.blocks.count + self.random.number(1...20)
            _ = try? await self.client.waitUntil("more", within: .milliseconds(self.random.number(2...60))) {
                $0.blocks.count >= seen ? () : nil
            }
        }
    }

    private mutating func connect() async {
        let choice = self.random.pick(self.schedule.cursors)
        let transport: EventStreamClient.CursorTransport = choice == .keptInQuery ? .query : .header
        // The hub may be restarting.
        let cursor = self.client.target.hasOwnCursors ? self.cursors(choice) : self.cursor(choice)
        try? await self.client.connect(cursor, by: transport)
    }

    /// The cursors of a stream whose flows have their own. All but the first two choices change that of one flow, whose events are
    /// then received again or which gets a resync, while the others go on.
    private mutating func cursors(_ choice: ModelSchedule.CursorChoice) -> EventStreamClient.Cursor {
        var cursors = self.client.log.cursors
        // The flows with many events: their names come after those of the crowd.
        guard let flow = self.client.target.sortedFlows.suffix(self.schedule.flows).randomElement(using: &self.random) else {
            return .kept
        }
        switch choice {
        case .kept, .keptInQuery: return .kept
        case .none: cursors[flow] = nil
        case .start: cursors[flow] = "0"
        case .older:
            let ids = self.client.log.blocks.lazy.filter { $0.id != nil && $0.flow == flow }.compactMap(\.id)
            cursors[flow] = Array(ids).randomElement(using: &self.random)
        case .invalid: cursors[flow] = "rubbish"
        case .ahead:
            guard case .flow(let epoch, let version)? = cursors[flow].map({ Cursor($0) }) else { return .kept }
            cursors[flow] = "\(epoch)-\(version + 1_000_000)"
        case .otherEpoch: cursors[flow] = "1.a-3"
        case .otherFlows: cursors[flow] = "1.a-\(self.hash)-1.1"
        }
        return .each(cursors)
    }

    private mutating func cursor(_ choice: ModelSchedule.CursorChoice) -> EventStreamClient.Cursor {
        let target = self.client.target
        switch choice {
        case .kept, .keptInQuery: return .kept
        case .none: return .none
        case .start: return .text("0")
        case .older:
            let ids = self.client.log.blocks.compactMap(\.id)
            return ids.randomElement(using: &self.random).map { .text($0) } ?? .none
        case .invalid:
            let texts = [
                "rubbish", "1-2-3-4-5", "a.b-", "-1", "zz.zz-~", "1.a-99999999999999999999", String(repeating: "9", count: 200),
            ]
            return .text(texts.randomElement(using: &self.random) ?? "")
        case .ahead:
            guard target.sortedFlows.count == 1, case .flow(let epoch, let version) = Cursor(self.client.lastEventID) else {
                return .kept
            }
            return .text("\(epoch)-\(version + 1_000_000)")
        case .otherEpoch:
            return .text(
                target.sortedFlows.count == 1
                    ? "1.a-3" : "1.a-\(self.hash)-\(target.sortedFlows.map { _ in "1" }.joined(separator: "."))")
        case .otherFlows: return .text(target.sortedFlows.count == 1 ? "1.a-\(self.hash)-1.1" : "1.a-7")
        }
    }

    private var hash: FlowSetHash { FlowSetHash(of: self.client.target.sortedFlows.compactMap { FlowID($0) }) }

    // MARK: Settling

    /// Reconnects like a browser until the subscriber is at the heads of its flows or its stream has ended permanently, for at
    /// most ``ModelSchedule/settling``. A faulty stream may never get there.
    func settle(at heads: [String: Version]) async {
        let deadline = ContinuousClock.now + (self.isFaulty ? .seconds(1) : self.schedule.settling)
        try? await self.client.read()
        while ContinuousClock.now < deadline {
            let log = self.client.log
            if log.isConnected, log.status == 200 {
                if Self.isAt(heads, log, self.client.target) { return }
            } else if Self.hasEndedForGood(log) {
                return
            } else {
                try? await self.client.connect(.kept)
            }
            let seen = log.blocks.count
            _ = try? await self.client.waitUntil("more", within: .milliseconds(100)) {
                $0.blocks.count > seen || !$0.isConnected ? () : nil
            }
        }
    }

    private static func hasEndedForGood(_ log: StreamLog) -> Bool {
        if log.status == 204 { return true }
        guard case .byServer = log.connections.last?.ending, let last = log.newest.last else { return false }
        return last.event == "closing" && last.json.member("reconnect")?.boolValue == false
    }

    /// Whether the newest connection has caught up and is at these versions, in every flow that has not ended.
    static func isAt(_ heads: [String: Version], _ log: StreamLog, _ target: StreamTarget) -> Bool {
        let flows = target.sortedFlows
        var positions: [String: Version] = [:]
        var caughtUp = Set<String>()
        var ended = Set<String>()
        for block in log.newest {
            if let id = block.id {
                switch Cursor(id) {
                case .flow(_, let version):
                    if flows.count == 1 {
                        positions[flows[0]] = version
                    } else if let flow = block.flow {
                        positions[flow] = version
                    }
                case .flows(_, _, let versions):
                    for (flow, version) in zip(flows, versions) { if let version { positions[flow] = version } }
                default: break
                }
            }
            guard let flow = block.flow else { continue }
            if block.event == "closing" { ended.insert(flow) }
            if block.event == "caught_up" {
                caughtUp.insert(flow)
                positions[flow] = block.version
            }
        }
        return flows.allSatisfy { ended.contains($0) || (caughtUp.contains($0) && positions[$0] == heads[$0] ?? 0) }
    }
}
