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

/// The position from which a stream resumes, as the client has sent it.
public enum StreamPosition: Hashable, Sendable {
    /// One cursor for the whole stream: of `GET`.
    case shared(Cursor)
    /// A cursor for each flow, in the order of the flows: of `POST` and `QUERY`.
    case each([Cursor])
}

/// The start points of a stream's flows, derived from its position.
public struct ResumePlan: Hashable, Sendable {
    /// The start points, in the order of the flows.
    public let startPoints: [StartPoint]

    /// Derives the plan without reading the store. Whether a version is valid is only known when ``FlowReader`` reads history.
    /// - Parameters:
    ///   - flows: the stream's flows, sorted, without duplicates.
    ///   - epoch: the adopted epoch.
    ///   - wantsSnapshot: whether a flow without a cursor starts with a snapshot.
    public init(position: StreamPosition, flows: [FlowID], epoch: Epoch, wantsSnapshot: Bool) {
        let newSubscriber: StartPoint = wantsSnapshot ? .snapshot : .head
        switch position {
        case .each(let cursors):
            self.startPoints = cursors.map { cursor in
                switch cursor {
                case .none: newSubscriber
                case .start: .after(0)
                case .unreadable: .resync(.badCursor)
                case .flow(epoch, let version): .after(version)
                case .flow: .resync(.epoch)
                case .flows: .resync(.otherFlows)
                }
            }
        case .shared(let cursor):
            self.startPoints = Self.startPoints(cursor, flows, epoch, newSubscriber)
        }
    }

    /// The start points for one cursor of the whole stream.
    private static func startPoints(
        _ cursor: Cursor, _ flows: [FlowID], _ epoch: Epoch, _ newSubscriber: StartPoint
    ) -> [StartPoint] {
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
