/// A class of queries. Each workload has its own connections, so that none can delay another.
enum PoolWorkload: Int, CaseIterable, Sendable {
    case changes, reads, pages, control
    /// Pruning and scans of whole tables, which may take long.
    case maintenance
    /// Records of imports. The import ledger uses other workloads, so that a worker can extend its claim in time.
    case imports

    /// Maximum units in flight on one connection.
    var depth: Int {
        switch self {
        case .changes: 1
        case .reads: 8
        case .pages: 4
        case .control: 1
        case .maintenance: 1
        case .imports: 1
        }
    }

    /// Whether statements are prepared. Not for records of imports: one import has a hundred rows and the next a
    /// million, and a cached plan for the former would scan the whole table for the latter.
    var prepares: Bool { self != .imports }

    /// Lock timeout in milliseconds. A batch of changes waits at most 100 ms, about as long as another instance's
    /// batch takes. Changes of rows that stay locked are deferred, so that they delay no others.
    func lockMilliseconds(_ settings: PostgresSettings) -> Int {
        self == .changes ? min(100, settings.lockSeconds * 1_000) : settings.lockSeconds * 1_000
    }

    /// Number of connections of this workload.
    func connections(_ settings: PostgresSettings) -> Int {
        switch self {
        case .changes: settings.changeConnections
        case .reads: settings.readConnections
        case .pages: settings.pageConnections
        case .control: settings.controlConnections
        case .maintenance: 1
        case .imports: settings.importConnections
        }
    }
}

/// Statements that are sent together as one transaction, or as one step of a leased connection's transaction.
struct PoolUnit: Sendable {
    typealias Continuation = CheckedContinuation<Result<[ResultSet], PoolFailure>, Never>

    let workload: PoolWorkload
    let statements: [Statement]
    /// Whether to send the unit once more if the connection is lost before its reply.
    let isRetryable: Bool
    /// The unit fails if it was not sent by then. Its running time is limited by the server's timeouts.
    let deadline: ContinuousClock.Instant
    /// Statement timeout in seconds; `nil`: the one of the settings.
    var statementSeconds: Int?
    let continuation: Continuation
    var wasRetried = false
}

/// The failure of a unit.
struct PoolFailure: Error, Sendable {
    let error: PostgresError
    /// Whether the unit may have taken effect: it was sent, and the connection was lost before its reply.
    let mayHaveTakenEffect: Bool
}

/// Whether a connection reaches the server process itself or a pooler.
enum ConnectionMode: Sendable {
    /// A dedicated server process: session settings and prepared statements last.
    case direct
    /// A transaction pooler, which assigns a server process to each transaction: settings must be made in each.
    case pooled
}

/// Identifies a lease and its connection slot. The number detects a ticket that outlived its connection.
struct LeaseTicket: Sendable {
    let number: UInt64
    let slot: Int
    let mode: ConnectionMode
}

/// A message to the driver's thread.
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
