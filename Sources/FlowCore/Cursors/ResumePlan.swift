/// The point at which a subscription starts, derived from the client's cursor.
public enum StartPoint: Hashable, Sendable {
    /// A snapshot, then the events after it.
    case snapshot
    /// A `resync` with this reason, then a snapshot and the events after it.
    case resync(ResyncReason)
    /// The events after this version.
    case after(Version)
    /// The events after the flow's head, without a snapshot (`?snapshot=0`).
    case head
}

/// The reason of a `resync`: why a subscriber cannot continue from its position. Raw values are on the wire.
public enum ResyncReason: String, Hashable, Sendable, CaseIterable {
    /// Events after the position were pruned.
    case historyPruned = "history_pruned"
    /// The position belongs to another epoch than the store's.
    case epoch = "epoch"
    /// The position is above the flow's head.
    case cursorAhead = "cursor_ahead"
    /// The cursor cannot be parsed.
    case badCursor = "bad_cursor"
    /// The cursor belongs to another set of flows.
    case otherFlows = "other_flows"
}

/// The start points of a stream's flows, derived from its cursor.
public struct ResumePlan: Hashable, Sendable {
    /// The start points, in the order of the flows.
    public let startPoints: [StartPoint]

    /// Derives the plan without reading the store. Whether a version is valid is only known when ``FlowReader`` reads history.
    /// - Parameters:
    ///   - flows: the stream's flows, sorted, without duplicates.
    ///   - epoch: the adopted epoch.
    ///   - wantsSnapshot: whether a client without a cursor is sent a snapshot.
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
                    // The client had not been sent the snapshot of a flow without a position yet.
                    versions.map { version in version.map { .after($0) } ?? .snapshot }
                }
            }
    }
}
