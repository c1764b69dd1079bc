/// What a connection is used for. Each share has connections of its own, so that none can keep another waiting.
enum PoolWorkload: Int, CaseIterable, Sendable {
    case changes, reads, pages, chores
    /// Pruning and the walks through whole tables, which may take their time.
    case housekeeping
    /// Records of imports. Their ledger is not among them: whoever holds an import must be able to say so in time.
    case imports

    /// Units under way on one connection.
    var depth: Int {
        switch self {
        case .changes: 1
        case .reads: 8
        case .pages: 4
        case .chores: 1
        case .housekeeping: 1
        case .imports: 1
        }
    }

    /// Whether statements are kept prepared. The records of imports may be a hundred at one statement and a million at the next:
    /// a plan that is kept would still read the whole table.
    var prepares: Bool { self != .imports }

    /// Milliseconds to wait for somebody else's lock. A batch of changes waits only as long as another instance's batch takes:
    /// what is held longer is tried again later, and keeps nobody waiting.
    func lockMilliseconds(_ settings: PostgresSettings) -> Int {
        self == .changes ? min(100, settings.lockSeconds * 1_000) : settings.lockSeconds * 1_000
    }

    func connections(_ settings: PostgresSettings) -> Int {
        switch self {
        case .changes: settings.changeConnections
        case .reads: settings.readConnections
        case .pages: settings.pageConnections
        case .chores: settings.choreConnections
        case .housekeeping: 1
        case .imports: settings.importConnections
        }
    }
}

/// Statements that are one transaction, or one step of a leased connection's.
struct PoolUnit: Sendable {
    typealias Answer = CheckedContinuation<Result<[ResultSet], PoolFailure>, Never>

    let share: PoolWorkload
    let statements: [Statement]
    /// Whether it may be sent a second time when the connection was lost under it.
    let isRepeatable: Bool
    /// Until then it waits for a connection; how long it may run then is the server's to say.
    let deadline: ContinuousClock.Instant
    /// What a statement of it may take, where that is not what the settings say.
    var statementSeconds: Int?
    let answer: Answer
    var wasRepeated = false
}

/// Why a unit has no result.
struct PoolFailure: Error, Sendable {
    let error: PostgresError
    /// Whether it may have taken effect all the same: it was sent, and no answer came.
    let mayHaveHappened: Bool
}

/// How the other side treats a connection.
enum ConnectionMode: Sendable {
    /// A server process of our own: settings last.
    case direct
    /// A pooler that gives us a server process for each transaction: settings must be made in each.
    case pooled
}

/// What a lease holder has in hand.
struct LeaseTicket: Sendable {
    let number: UInt64
    let slot: Int
    let mode: ConnectionMode
}

/// What the driver's thread is told.
enum DriverMessage: Sendable {
    case unit(PoolUnit)
    case lease(PoolWorkload, deadline: ContinuousClock.Instant, CheckedContinuation<Result<LeaseTicket, PostgresError>, Never>)
    case leasedUnit(LeaseTicket, PoolUnit)
    /// - Parameter isClean: whether the connection is outside a transaction.
    case leaseEnded(LeaseTicket, isClean: Bool)
    case connected(slot: Int, PostgresConnection, ConnectionMode)
    case connectFailed(slot: Int, PostgresError)
    case close(CheckedContinuation<Void, Never>)
}
