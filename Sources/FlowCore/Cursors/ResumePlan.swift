/// How one flow of a connection begins, decided from the client's cursor alone.
public enum StartPoint: Hashable, Sendable {
    /// The whole state, then what follows.
    case snapshot
    /// Told why its place is lost, then the whole state.
    case resync(ResyncReason)
    /// What came after this version.
    case after(Version)
    /// No snapshot wanted (`?snapshot=0`): from the head of the flow, wherever it is.
    case head
}

/// Why a subscriber cannot go on from where it was.
public enum ResyncReason: String, Hashable, Sendable, CaseIterable {
    /// The history that it lacks was pruned.
    case historyPruned = "history_pruned"
    /// The store's history is another one than the cursor's.
    case epoch = "epoch"
    /// The cursor is beyond the head of the flow.
    case cursorAhead = "cursor_ahead"
    /// The cursor cannot be read.
    case badCursor = "bad_cursor"
    /// The cursor is of another set of flows.
    case otherFlows = "other_flows"
}

/// Where each flow of a connection begins.
public struct ResumePlan: Hashable, Sendable {
    /// In the order of the flows.
    public let startPoints: [StartPoint]

    /// - Parameters:
    ///   - flows: sorted, without doubles.
    ///   - epoch: the store's.
    public init(cursor: Cursor, flows: [FlowID], epoch: Epoch, wantsSnapshot: Bool) {
        let newSubscriber: StartPoint = wantsSnapshot ? .snapshot : .head
        self.startPoints =
            switch cursor {
            case .none: flows.map { _ in newSubscriber }
            case .start: flows.map { _ in .after(0) }
            case .unreadable: flows.map { _ in .resync(.badCursor) }
            case .flow(let cursorEpoch, let version):
                if flows.count != 1 {
                    flows.map { _ in .resync(.otherFlows) }
                } else {
                    cursorEpoch == epoch ? [.after(version)] : [.resync(.epoch)]
                }
            case .flows(let cursorEpoch, let hash, let versions):
                if flows.count < 2 || versions.count != flows.count || hash != FlowSetHash(of: flows) {
                    flows.map { _ in .resync(.otherFlows) }
                } else if cursorEpoch != epoch {
                    flows.map { _ in .resync(.epoch) }
                } else {
                    // A flow that was not sent yet had a snapshot due.
                    versions.map { version in version.map { .after($0) } ?? .snapshot }
                }
            }
    }

    /// Whether every flow begins at a place and none with a snapshot, so that the cursor may be told at once.
    public var resumesEveryFlow: Bool {
        self.startPoints.allSatisfy { startPoint in
            switch startPoint {
            case .after, .head: true
            case .snapshot, .resync: false
            }
        }
    }
}
