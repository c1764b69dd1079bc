public import FlowCore

/// The test oracle: checks what one subscriber received against the journals of its flows. Events must be in order, without
/// gaps and duplicates; snapshots must be correct; a resync must announce every loss.
///
/// It checks a finished log, and uses only the protocol's guarantees and the journals.
public struct StreamChecker {
    /// Facts about the flows after all activity has ended.
    public struct Facts: Sendable {
        public var journals: [String: FlowJournal]
        /// The oldest version in the history of each flow.
        public var oldest: [String: Version]
        /// All epochs that the store has had.
        public var epochs: Set<Epoch>

        public init(journals: [String: FlowJournal], oldest: [String: Version], epochs: Set<Epoch>) {
            self.journals = journals
            self.oldest = oldest
            self.epochs = epochs
        }
    }

    let subscriber: String
    let target: StreamTarget
    let facts: Facts
    let log: StreamLog
    var trackedFlows: [TrackedFlow]
    /// Indices of the flows in ``trackedFlows``.
    let indices: [String: Int]
    /// The epoch of the last id on this connection; before the first one, that of its cursor.
    var epoch: Epoch?
    var connection = 0
    var isFirstBlock = true
    var hasClosed = false
    public var violations: [Violation] = []

    private init(_ log: StreamLog, _ target: StreamTarget, _ subscriber: String, _ facts: Facts) {
        self.log = log
        self.target = target
        self.subscriber = subscriber
        self.facts = facts
        self.trackedFlows = target.sortedFlows.map { TrackedFlow(flow: $0) }
        self.indices = Dictionary(uniqueKeysWithValues: zip(target.sortedFlows, 0...))
    }

    /// - Parameter isSettled: whether all publishing has ended and its events had time to arrive. If so, an open stream must
    ///   be at the head of each flow.
    public static func check(
        _ log: StreamLog, of target: StreamTarget, by subscriber: String, _ facts: Facts, isSettled: Bool = true
    ) -> [Violation] {
        var checker = StreamChecker(log, target, subscriber, facts)
        for number in log.connections.indices {
            checker.startConnection(number)
            for block in log.blocks(ofConnection: number) { checker.check(block) }
        }
        if isSettled { checker.finish() }
        return checker.violations
    }

    func journal(_ flow: String) -> FlowJournal { self.facts.journals[flow] ?? FlowJournal(flow: flow) }

    mutating func report(_ what: String, _ block: EventBlock? = nil) {
        self.violations.append(Violation(self.subscriber, what, connection: self.connection, block: block?.description))
    }

    // MARK: Connections

    private mutating func startConnection(_ number: Int) {
        self.connection = number
        self.isFirstBlock = true
        self.hasClosed = false
        let connection = self.log.connections[number]
        if self.target.hasOwnCursors {
            self.startFlows(connection)
            if connection.status == 204 { self.checkEnd() }
            return
        }
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
            // A cursor without a version for one of its flows means that a snapshot of that flow is due.
            self.trackedFlows[index].adoptsPosition = Cursor(connection.cursor) == .none && !self.target.wantsSnapshot
        }
        if connection.status == 204 { self.checkEnd() }
    }

    /// Starts a connection whose flows have their own cursors.
    private mutating func startFlows(_ connection: StreamLog.Connection) {
        for index in self.trackedFlows.indices {
            let flow = self.trackedFlows[index].flow
            let cursor = Cursor(connection.cursors[flow] ?? "")
            var (epoch, version, expectedResync): (Epoch?, Version?, ResyncReason?) = (nil, nil, nil)
            switch cursor {
            case .none: break
            case .start: version = 0
            case .unreadable: expectedResync = .badCursor
            case .flow(let cursorEpoch, let cursorVersion):
                if self.facts.epochs.contains(cursorEpoch) {
                    (epoch, version) = (cursorEpoch, cursorVersion)
                } else {
                    expectedResync = .epoch
                }
            case .flows: expectedResync = .otherFlows
            }
            self.trackedFlows[index].startConnection(at: version, journal: self.journal(flow))
            self.trackedFlows[index].epoch = epoch
            self.trackedFlows[index].expectedResync = expectedResync
            self.trackedFlows[index].adoptsPosition = cursor == .none && !self.target.wantsSnapshot
        }
    }

    /// Checks a 204, which ends reconnects permanently: every flow must be terminal at the subscriber's position.
    private mutating func checkEnd() {
        for tracked in self.trackedFlows {
            guard let version = tracked.version, self.journal(tracked.flow).snapshot(at: version)?.isTerminal == true else {
                self.report("received 204, but \(tracked.flow) is not terminal at version \(tracked.version ?? -1)")
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
            if !tracked.isCaughtUp { self.report("received no caught_up of \(tracked.flow)") }
            if let state = tracked.state, tracked.stateVersion == journal.version, self.seesStates,
                !state.isEquivalent(to: journal.now.state)
            {
                self.report("has the state \(state) of \(tracked.flow), which is \(journal.now.state)")
            }
        }
    }

    /// Whether the type filter includes all events that change the state.
    var seesStates: Bool { self.target.types.map { $0.contains("state_update") && $0.contains("flow_deleted") } ?? true }

    var flowSetHash: FlowSetHash { FlowSetHash(of: self.trackedFlows.compactMap { FlowID($0.flow) }) }
}
