public import Logging
import Synchronization

/// A pool of connections to Postgres, served by one thread. Safe to use from any task. No method blocks a task's
/// thread, and every wait is bounded.
public final class PostgresPool: Sendable {
    let settings: PostgresSettings
    private let mailbox: Mailbox<DriverMessage>
    private let access = PoolAccess()

    /// Starts the pool's thread, which opens the connections and retries failed attempts.
    /// - Throws: ``PostgresError`` only if the process is out of file descriptors. If the database is unavailable,
    ///   units fail later.
    public init(_ settings: PostgresSettings, logger: Logger) throws(PostgresError) {
        self.settings = settings
        self.mailbox = try Mailbox()
        PoolDriver.start(settings, self.mailbox, self.access, logger: logger)
    }

    /// Whether the server accepted no writes when the latest connection was established.
    var isReadOnly: Bool { self.access.isReadOnly.load(ordering: .relaxed) }

    /// Rejects new and waiting units, waits for those in flight and for a running connection attempt, and closes the
    /// connections. No thread of this pool calls libpq afterwards.
    public func close() async {
        await withCheckedContinuation { self.send(.close($0)) }
    }

    /// Runs statements as one transaction that commits after the last of them.
    /// - Parameters:
    ///   - isRetryable: whether to run the transaction once more if the connection is lost before the reply.
    ///   - seconds: statement timeout; `nil`: the one of the settings.
    /// - Returns: one result per statement.
    func run(
        _ workload: PoolWorkload, _ statements: [Statement], isRetryable: Bool, seconds: Int? = nil
    ) async throws(PoolFailure) -> [ResultSet] {
        let limit = seconds.map { [Connector.statementLimit($0)] } ?? []
        let result = await withCheckedContinuation { continuation in
            self.send(
                .unit(
                    PoolUnit(
                        workload: workload, statements: limit + statements, isRetryable: isRetryable, deadline: self.deadline,
                        statementSeconds: seconds, continuation: continuation)))
        }
        return Array(try result.get().dropFirst(limit.count))
    }

    /// Runs the body with exclusive use of a connection, for a transaction whose later statements depend on the results
    /// of earlier ones. The body begins and ends the transaction. If the body throws, the transaction is rolled back.
    func withLease<Value: Sendable>(
        _ workload: PoolWorkload, _ body: (borrowing PoolLease) async throws(PoolFailure) -> Value
    ) async throws(PoolFailure) -> Value {
        let result = await withCheckedContinuation { self.send(.lease(workload, deadline: self.deadline, $0)) }
        let ticket: LeaseTicket
        switch result {
        case .success(let granted): ticket = granted
        case .failure(let error): throw PoolFailure(error: error, mayHaveTakenEffect: false)
        }
        let lease = PoolLease(ticket: ticket, workload: workload, pool: self)
        do throws(PoolFailure) {
            let value = try await body(lease)
            self.mailbox.send(.leaseEnded(ticket, isClean: true))
            return value
        } catch {
            // ROLLBACK is valid in any transaction state. If it fails, the connection is closed.
            let isClean = (try? await lease.run([Statement("ROLLBACK")])) != nil
            self.mailbox.send(.leaseEnded(ticket, isClean: isClean))
            throw error
        }
    }

    /// Runs statements on a leased connection, as one step of its transaction.
    /// - Returns: one result per statement.
    func runLeased(
        _ ticket: LeaseTicket, _ workload: PoolWorkload, _ statements: [Statement], seconds: Int?
    ) async throws(PoolFailure) -> [ResultSet] {
        let result = await withCheckedContinuation { continuation in
            self.send(
                .leasedUnit(
                    ticket,
                    PoolUnit(
                        workload: workload, statements: statements, isRetryable: false, deadline: self.deadline,
                        statementSeconds: seconds, continuation: continuation)))
        }
        return try result.get()
    }

    /// Sends a message to the pool's thread. After the close, fails the message's caller instead.
    private func send(_ message: DriverMessage) {
        if !self.mailbox.send(message) { PoolDriver.reject(message) }
    }

    /// Time by which a unit or lease that starts to wait now must have a connection.
    private var deadline: ContinuousClock.Instant { .now + .seconds(self.settings.acquireSeconds) }
}

/// What the driver's thread tells the pool about the server.
final class PoolAccess: Sendable {
    /// Whether the server accepted no writes when the latest connection was established.
    let isReadOnly = Atomic(false)
}

/// Exclusive use of a pool connection for one transaction.
struct PoolLease: ~Copyable {
    fileprivate let ticket: LeaseTicket
    fileprivate let workload: PoolWorkload
    fileprivate let pool: PostgresPool

    /// Begins a transaction and runs its first statements. With a pooler, also makes the transaction's settings.
    /// - Parameter seconds: statement timeout of this transaction; `nil`: the one of the settings.
    /// - Returns: one result per given statement.
    func begin(then statements: [Statement], seconds: Int? = nil) async throws(PoolFailure) -> [ResultSet] {
        var all = [Statement("BEGIN ISOLATION LEVEL READ COMMITTED")]
        if self.ticket.mode == .pooled { all += Connector.transactionSettings(self.workload, self.pool.settings) }
        if let seconds { all.append(Connector.statementLimit(seconds)) }
        do throws(PoolFailure) {
            return Array(try await self.run(all + statements, seconds: seconds).dropFirst(all.count))
        } catch {
            throw error.withoutEffect(.isUncommitted)
        }
    }

    /// Runs further statements of the transaction. The last call must end it with COMMIT or ROLLBACK.
    /// - Parameter seconds: the timeout that was passed to ``begin(then:seconds:)``; `nil`: the one of the settings.
    func run(_ statements: [Statement], seconds: Int? = nil) async throws(PoolFailure) -> [ResultSet] {
        try await self.pool.runLeased(self.ticket, self.workload, statements, seconds: seconds)
    }
}
