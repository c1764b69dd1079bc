/// A class of queries. Each workload has its own connections, so that none can delay another.
enum PoolWorkload: Int, CaseIterable, Sendable {
    /// Batches of changes, written by the commit lanes.
    case changes
    /// Reads of states, heads and lists, and of the import ledger.
    case reads
    /// Reads of history pages.
    case pages
    /// Everything else: the epoch, revocations, locks, changes of the import ledger, and the outbox.
    case control
    /// Pruning and scans of whole tables, which may take long.
    case maintenance
    /// Records of imports. The import ledger uses other workloads, so that a worker can extend its claim while records
    /// occupy these connections.
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

    /// Whether statements are prepared. Not for records of imports: the server may keep a plan that it made for an
    /// import of a hundred rows, and scan the whole table with it for an import of a million.
    var prepares: Bool { self != .imports }

    /// Timeout of one wait for a row or table lock, in milliseconds: ``PostgresSettings/lockSeconds``, but at most 100
    /// ms for changes. 100 ms is about the duration of another instance's batch. After it, the change that waits for
    /// the lock is separated from its batch and deferred for up to ``PostgresSettings/lockSeconds``.
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
    /// Whether to send the unit once more if the connection is lost before the reply.
    let isRetryable: Bool
    /// The unit fails if it was not sent by this time. Once it is sent, the server's timeouts limit its duration.
    let deadline: ContinuousClock.Instant
    /// Statement timeout in seconds; `nil`: the one of the settings.
    var statementSeconds: Int?
    let continuation: Continuation
    /// Whether the unit was sent before, on a connection that was lost.
    var wasRetried = false
}

/// The failure of a unit.
struct PoolFailure: Error, Sendable {
    let error: PostgresError
    /// Whether the unit may have taken effect: it was sent, and the connection ended before its complete reply.
    let mayHaveTakenEffect: Bool

    init(error: PostgresError, mayHaveTakenEffect: Bool) {
        self.error = error
        self.mayHaveTakenEffect = mayHaveTakenEffect
    }

    /// Creates a failure without effect: of a transaction that was rolled back, of a read, or of a reply that cannot be
    /// decoded.
    init(_ error: PostgresError) {
        self.init(error: error, mayHaveTakenEffect: false)
    }

    /// Why it does not matter to the caller whether a unit has taken effect.
    enum Harmlessness {
        /// The unit only reads.
        case isRead
        /// A second execution has the result of the first, so the caller may simply repeat the operation.
        case isRepeatable
        /// The unit is a step of a transaction that only a later step commits.
        case isUncommitted
        /// The unit prepares another one, which was not sent.
        case isPreparation
    }

    /// The failure as one without effect, although the reply may have been lost.
    func withoutEffect(_ reason: Harmlessness) -> PoolFailure { PoolFailure(self.error) }
}

/// Whether a connection reaches the server process itself or a pooler.
enum ConnectionMode: Sendable {
    /// A dedicated server process: session settings and prepared statements last.
    case direct
    /// A transaction pooler, which assigns a server process to each transaction: settings must be made in each.
    case pooled
}

/// What the connector finds out about a new connection.
struct SessionProperties: Sendable {
    var mode: ConnectionMode
    /// Whether transactions are read-only: the server is a standby, or the role, the database or the server is set to
    /// `default_transaction_read_only`.
    var isReadOnly: Bool
}

/// Identifies a lease and its connection slot. If the connection was lost since, the slot has no lease or one with
/// another number.
struct LeaseTicket: Sendable {
    /// Number of the lease, never assigned twice by a driver.
    let number: UInt64
    /// Index of the connection slot in the driver.
    let slot: Int
    let mode: ConnectionMode
}

/// A message to the driver's thread.
enum DriverMessage: Sendable {
    /// Run a unit on any connection of its workload.
    case unit(PoolUnit)
    /// Grant exclusive use of a connection, or fail at the deadline.
    case lease(PoolWorkload, deadline: ContinuousClock.Instant, CheckedContinuation<Result<LeaseTicket, PostgresError>, Never>)
    /// Run a unit on the leased connection.
    case leasedUnit(LeaseTicket, PoolUnit)
    /// The lease ends.
    /// - Parameter isClean: whether the connection is outside a transaction. If not, the connection is closed.
    case leaseEnded(LeaseTicket, isClean: Bool)
    /// The connector has opened a connection for the slot with this index.
    case connected(slot: Int, PostgresConnection, SessionProperties)
    /// The attempt to connect the slot with this index has failed.
    case connectFailed(slot: Int, PostgresError)
    /// Close the pool, and resume the continuation when it is closed.
    case close(CheckedContinuation<Void, Never>)
}
