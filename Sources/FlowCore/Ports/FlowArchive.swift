/// Flows of all accounts as they lie in a store, to be carried into another one.
public protocol FlowArchive: Sendable {
    /// In the order of their ids, above `after`; tombstones included.
    func archive(after: String?, limit: Int) async throws(StoreError) -> [ArchivedFlow]
    /// Puts a flow with its history back, versions and times included, in one transaction.
    /// - Parameter events: ascending and without a hole, the last at the flow's version.
    func restore(_ flow: ArchivedFlow, events: [FlowEvent]) async throws(StoreError) -> RestoreOutcome
}

public struct ArchivedFlow: Hashable, Sendable {
    public var record: FlowRecord
    public var createdAt: Timestamp

    public init(record: FlowRecord, createdAt: Timestamp) {
        self.record = record
        self.createdAt = createdAt
    }
}

public enum RestoreOutcome: Hashable, Sendable {
    case restored
    /// The flow is there already, at the same version and with the same state.
    case alreadyThere
    /// Another flow of this id is there, at this version. It was not touched: a version must not mean two things.
    case otherIsThere(Version)
}

extension ArchivedFlow {
    /// The flow's events up to its version, as far as history reaches; what came since belongs to another moment.
    /// - Parameter page: history after a version. Pruning may go on between two of them.
    /// - Returns: ascending, without a hole, the last at the flow's version; empty if nothing of that is left.
    public func history<Failure>(
        page: (Version) async throws(Failure) -> EventPage
    ) async throws(Failure) -> [FlowEvent] {
        let end = self.record.version
        var events: [FlowEvent] = []
        var after: Version = 0
        while after < end {
            let next = try await page(after).events
            // Pruned since the page before: what is left of the history begins here.
            if let first = next.first, first.version > after + 1 { events = [] }
            events += next.filter { $0.version <= end }
            guard let last = next.last else { break }
            after = last.version
        }
        return events.last?.version == end ? events : []
    }

    /// The highest fencing token that the flow has seen: the store that takes it hands out higher ones.
    package var highestFence: Int64 { self.record.fence.members.compactMap(\.value.intValue).max() ?? 0 }

    /// What to say of a flow that is in the way.
    package func outcome(beside there: FlowRecord) -> RestoreOutcome {
        let isSame =
            there.head.account == self.record.head.account && there.version == self.record.version
            && there.state == self.record.state
        return isSame ? .alreadyThere : .otherIsThere(there.version)
    }
}
