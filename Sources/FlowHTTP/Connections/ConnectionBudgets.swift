import Synchronization

/// The budgets and counters that the connections of all event loops share. Safe to use from any thread.
final class ConnectionBudgets: Sendable {
    /// The account under which requests without a token are counted. No token can have it: accounts are not empty.
    static let noAccount = ""

    /// Request bodies in memory: while they arrive, and until the request is answered. For imports, the bytes that were read
    /// and not yet parsed.
    let bodies: ByteBudget
    /// Bytes of ordinary responses that wait for clients to read them.
    let responses: ByteBudget
    /// Pipelined request parts. They have no account: what follows a request may be anybody's.
    private let pipelined = Atomic<Int>(0)
    private let pipelinedLimit: Int
    private let pipelinedExcesses = Atomic<Int>(0)
    private let evictions = Atomic<Int>(0)
    private let refusals = Atomic<Int>(0)
    private let acceptFailures = Atomic<Int>(0)

    init(_ configuration: HTTPConfiguration) {
        self.bodies = ByteBudget(
            limit: configuration.maximumTotalBodyBytes, accountLimit: configuration.maximumAccountBodyBytes)
        self.responses = ByteBudget(
            limit: configuration.maximumTotalResponseBytes, accountLimit: configuration.maximumAccountResponseBytes)
        self.pipelinedLimit = configuration.maximumTotalPipelinedBytes
    }

    /// Bytes of the pipelined request parts of all connections.
    var pipelinedBytes: Int { self.pipelined.load(ordering: .relaxed) }
    /// Whether the pipelined request parts of all connections are at most their limit.
    var hasRoomForPipelined: Bool { self.pipelinedBytes <= self.pipelinedLimit }
    /// Adds the change of a connection's pipelined bytes.
    func pipelinedChanged(by bytes: Int) { self.pipelined.add(bytes, ordering: .relaxed) }

    /// Number of connections whose pipelined requests were dropped.
    var droppedPipelines: Int { self.pipelinedExcesses.load(ordering: .relaxed) }
    /// Counts a connection whose pipelined requests are dropped.
    func countDroppedPipeline() { self.pipelinedExcesses.add(1, ordering: .relaxed) }

    /// Number of idle connections that were closed to make room.
    var evictedConnections: Int { self.evictions.load(ordering: .relaxed) }
    /// Counts an idle connection that is closed to make room.
    func countEviction() { self.evictions.add(1, ordering: .relaxed) }

    /// Number of connections and requests that were rejected because no connection could be closed to make room.
    var refusedConnections: Int { self.refusals.load(ordering: .relaxed) }
    /// Counts a connection or a request that is rejected because there is no room for it.
    func countRefusal() { self.refusals.add(1, ordering: .relaxed) }

    /// Number of failed attempts to accept a connection.
    var failedAccepts: Int { self.acceptFailures.load(ordering: .relaxed) }
    /// Counts a failed attempt to accept a connection.
    func countFailedAccept() { self.acceptFailures.add(1, ordering: .relaxed) }
}
