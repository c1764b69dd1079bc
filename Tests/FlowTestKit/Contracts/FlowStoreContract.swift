public import FlowCore
import Synchronization
import Testing

/// Contract tests that every ``FlowStore`` passes.
public enum FlowStoreContract {
    public typealias Store = FlowStore & FencingSequence & RevocationStore & FlowArchive

    /// An empty store under test, with operations that the store itself does not offer.
    public struct Subject: Sendable {
        public var store: any Store
        /// Closes the store and reopens its data with these limits of an account.
        private let reopenWith: @Sendable (AccountLimits) async throws -> any Store
        /// Raises the epoch directly in the database, as another process would.
        public var raiseEpochElsewhere: @Sendable () async throws -> Void

        public init(
            store: any Store, reopen: @escaping @Sendable (AccountLimits) async throws -> any Store,
            raiseEpochElsewhere: @escaping @Sendable () async throws -> Void
        ) {
            self.store = store
            self.reopenWith = reopen
            self.raiseEpochElsewhere = raiseEpochElsewhere
        }

        /// Closes the store and reopens its data.
        public func reopen(_ limits: AccountLimits = .init()) async throws -> any Store { try await self.reopenWith(limits) }
    }

    public typealias Case = ContractCase<Subject>

    public static let cases: [Case] =
        Self.versions + Self.tombstones + Self.conditions + Self.idempotency + Self.text + Self.pages + Self.lists
        + Self.pruning + Self.epochs + Self.concurrency + Self.accounts
}

// MARK: Helpers

let start = Timestamp(milliseconds: 1_700_000_000_000)

func flow(_ text: String) throws -> FlowID { try #require(FlowID(text)) }

func type(_ text: String) throws -> EventType { try #require(EventType(text)) }

func json(_ text: String) throws -> JSONText { try JSONText(validating: text.utf8) }

extension FlowStore {
    func patch(
        _ flow: FlowID, _ text: String, account: String = "1", if precondition: FlowChange.Precondition = .none,
        key: FlowChange.Idempotency? = nil, fencing: FlowChange.Fencing? = nil, at moment: Timestamp = start
    ) async throws -> FlowOutcome {
        try await self.apply(
            FlowChange(
                flow: flow, account: account, body: .patch(try json(text)), precondition: precondition, idempotency: key,
                fencing: fencing, at: moment))
    }

    func replace(
        _ flow: FlowID, _ text: String, account: String = "1", if precondition: FlowChange.Precondition = .none,
        key: FlowChange.Idempotency? = nil, at moment: Timestamp = start
    ) async throws -> FlowOutcome {
        try await self.apply(
            FlowChange(
                flow: flow, account: account, body: .replace(try json(text)), precondition: precondition, idempotency: key,
                at: moment))
    }

    func delete(
        _ flow: FlowID, account: String = "1", key: FlowChange.Idempotency? = nil, at moment: Timestamp = start
    ) async throws -> FlowOutcome {
        try await self.apply(FlowChange(flow: flow, account: account, body: .delete, idempotency: key, at: moment))
    }

    func publish(
        _ flow: FlowID, _ data: [String], account: String = "1", key: FlowChange.Idempotency? = nil,
        at moment: Timestamp = start
    ) async throws -> FlowOutcome {
        let tick = try type("tick")
        let events = try data.map { FlowChange.NewEvent(type: tick, data: try json($0)) }
        return try await self.apply(
            FlowChange(flow: flow, account: account, body: .publish(events), idempotency: key, at: moment))
    }

    func allEvents(of flow: FlowID) async throws -> [FlowEvent] {
        try await self.page(of: flow, after: 0, limit: PageLimit(events: 100_000, bytes: .max)).events
    }
}

extension FlowOutcome {
    var record: FlowRecord? {
        switch self {
        case .applied(let record, _, _), .unchanged(let record): record
        case .replayed, .rejected: nil
        }
    }

    var isCreated: Bool {
        if case .applied(_, _, let created) = self { return created }
        return false
    }

    var isUnchanged: Bool {
        if case .unchanged = self { return true }
        return false
    }

    var rejection: Rejection? {
        if case .rejected(let rejection) = self { return rejection }
        return nil
    }

    var reply: StoredReply? {
        if case .replayed(let reply) = self { return reply }
        return nil
    }
}

/// All commits that a store reported to its observer, in order.
final class CommitLog: Sendable {
    private let commits = Mutex<[Commit]>([])

    init(_ store: any FlowStore) {
        store.observeCommits { commits in self.commits.withLock { $0 += commits } }
    }

    var all: [Commit] { self.commits.withLock { $0 } }
}
