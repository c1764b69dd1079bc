public import FlowCore

/// Holds what one subscriber saw against what happened: order, no gap, no double, snapshots that fit, loss that is told.
///
/// It works afterwards and knows nothing of the server's machinery; all that it goes by are the promises and the journals.
public struct StreamChecker {
    /// What is known of the flows when everything has come to rest.
    public struct Facts: Sendable {
        public var journals: [String: FlowJournal]
        /// The oldest version that history still holds, of each flow.
        public var oldest: [String: Version]
        /// Every epoch that the store ever had.
        public var epochs: Set<Epoch>

        public init(journals: [String: FlowJournal], oldest: [String: Version], epochs: Set<Epoch>) {
            self.journals = journals
            self.oldest = oldest
            self.epochs = epochs
        }
    }

    let who: String
    let target: StreamTarget
    let facts: Facts
    let log: StreamLog
    var trackedFlows: [TrackedFlow]
    /// Of the ids seen on this connection, or of the cursor that it began with.
    var epoch: Epoch?
    var connection = 0
    var isFirstBlock = true
    var hasClosed = false
    public var violations: [Violation] = []

    private init(_ log: StreamLog, _ target: StreamTarget, _ who: String, _ facts: Facts) {
        self.log = log
        self.target = target
        self.who = who
        self.facts = facts
        self.trackedFlows = target.sortedFlows.map { TrackedFlow(flow: $0) }
    }

    /// - Parameter isSettled: everything was published and there was time enough: a stream that is open must be at the end.
    public static func check(
        _ log: StreamLog, of target: StreamTarget, by who: String, _ facts: Facts, isSettled: Bool = true
    ) -> [Violation] {
        var checker = StreamChecker(log, target, who, facts)
        for number in log.connections.indices {
            checker.startConnection(number)
            for block in log.blocks(ofConnection: number) { checker.check(block) }
        }
        if isSettled { checker.finish() }
        return checker.violations
    }

    func journal(_ flow: String) -> FlowJournal { self.facts.journals[flow] ?? FlowJournal(flow: flow) }

    mutating func report(_ what: String, _ block: EventBlock? = nil) {
        self.violations.append(Violation(self.who, what, connection: self.connection, block: block?.description))
    }

    // MARK: Connections

    private mutating func startConnection(_ number: Int) {
        self.connection = number
        self.isFirstBlock = true
        self.hasClosed = false
        let connection = self.log.connections[number]
        self.epoch = nil
        var versions = [Version?](repeating: nil, count: self.trackedFlows.count)
        var expectedResync: ResyncReason?
        switch Cursor(connection.cursor) {
        case .none: break
        case .start: versions = versions.map { _ in 0 }
        case .unreadable: expectedResync = .badCursor
        case .flow(let epoch, let version):
            if self.trackedFlows.count == 1 { (self.epoch, versions) = (epoch, [version]) } else { expectedResync = .otherFlows }
        case .flows(let epoch, let hash, let cursorVersions):
            let fits = self.trackedFlows.count > 1 && cursorVersions.count == self.trackedFlows.count && hash == self.flowSetHash
            if fits { (self.epoch, versions) = (epoch, cursorVersions) } else { expectedResync = .otherFlows }
        }
        if let epoch = self.epoch, !self.facts.epochs.contains(epoch) {
            expectedResync = .epoch
            versions = versions.map { _ in nil }
        }
        for index in self.trackedFlows.indices {
            self.trackedFlows[index].startConnection(at: versions[index], journal: self.journal(self.trackedFlows[index].flow))
            self.trackedFlows[index].expectedResync = expectedResync
            // A cursor that names no place in one of its flows says that a snapshot was due there.
            self.trackedFlows[index].adoptsPosition = Cursor(connection.cursor) == .none && !self.target.wantsSnapshot
        }
        if connection.status == 204 { self.checkEnd() }
    }

    /// 204: for good, so it must be true.
    private mutating func checkEnd() {
        for tracked in self.trackedFlows {
            guard let version = tracked.version, self.journal(tracked.flow).snapshot(at: version)?.isTerminal == true else {
                self.report("was sent away with 204, but \(tracked.flow) has no end at \(tracked.version ?? -1)")
                continue
            }
        }
    }

    private mutating func finish() {
        guard self.log.isConnected, self.log.status == 200, !self.hasClosed else { return }
        for tracked in self.trackedFlows where !tracked.hasEnded {
            let journal = self.journal(tracked.flow)
            if tracked.version != journal.version {
                self.report(
                    "is at version \(tracked.version.map(String.init) ?? "none") of \(tracked.flow), which is at \(journal.version)"
                )
                continue
            }
            if !tracked.isCaughtUp { self.report("was never told that it has caught up with \(tracked.flow)") }
            if let state = tracked.state, tracked.stateVersion == journal.version, self.seesStates,
                !state.isEquivalent(to: journal.now.state)
            {
                self.report("has the state \(state) of \(tracked.flow), which is \(journal.now.state)")
            }
        }
    }

    /// Whether what it asked for is enough to follow the state.
    var seesStates: Bool { self.target.types.map { $0.contains("state_update") && $0.contains("flow_deleted") } ?? true }

    var flowSetHash: FlowSetHash { FlowSetHash(of: self.trackedFlows.compactMap { FlowID($0.flow) }) }
}
