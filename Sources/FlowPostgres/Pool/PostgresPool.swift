public import Logging

/// A few connections to Postgres, shared by everybody, driven by one thread. Safe to use from any task; no method blocks a
/// task's thread, and every wait has an end.
public final class PostgresPool: Sendable {
    let settings: PostgresSettings
    private let mailbox: Mailbox<DriverMessage>

    /// Starts the pool's thread. Connections are made as soon as they can be; nothing is reported if they cannot.
    public init(_ settings: PostgresSettings, logger: Logger) throws(PostgresError) {
        self.settings = settings
        self.mailbox = try Mailbox()
        PoolDriver.start(settings, self.mailbox, logger: logger)
    }

    /// Refuses what is new, waits for what is under way, and closes the connections.
    public func close() async {
        await withCheckedContinuation { self.tell(.close($0)) }
    }

    /// Runs statements as one transaction that commits with the last of them.
    /// - Parameters:
    ///   - isRepeatable: whether they may run a second time if the connection is lost under them.
    ///   - seconds: what each of them may take, if not what the settings say.
    func run(
        _ share: PoolWorkload, _ statements: [Statement], isRepeatable: Bool, seconds: Int? = nil
    ) async throws(PoolFailure) -> [ResultSet] {
        let limit = seconds.map { [Connector.statementLimit($0)] } ?? []
        let result = await withCheckedContinuation { answer in
            self.tell(
                .unit(
                    PoolUnit(
                        share: share, statements: limit + statements, isRepeatable: isRepeatable, deadline: self.deadline,
                        statementSeconds: seconds, answer: answer)))
        }
        return Array(try result.get().dropFirst(limit.count))
    }

    /// Holds a connection for the time of the body, for a transaction that decides between its statements. Rolls back when the
    /// body throws.
    func withLease<Value: Sendable>(
        _ share: PoolWorkload, _ body: (borrowing PoolLease) async throws(PoolFailure) -> Value
    ) async throws(PoolFailure) -> Value {
        let given = await withCheckedContinuation { self.tell(.lease(share, deadline: self.deadline, $0)) }
        let ticket: LeaseTicket
        switch given {
        case .success(let granted): ticket = granted
        case .failure(let error): throw PoolFailure(error: error, mayHaveHappened: false)
        }
        let lease = PoolLease(ticket: ticket, share: share, pool: self)
        do throws(PoolFailure) {
            let value = try await body(lease)
            self.mailbox.send(.leaseEnded(ticket, isClean: true))
            return value
        } catch {
            // Whatever state its transaction is in: a rollback leaves the connection clean, if it still answers.
            let isClean = (try? await lease.run([Statement("ROLLBACK")])) != nil
            self.mailbox.send(.leaseEnded(ticket, isClean: isClean))
            throw error
        }
    }

    func runLeased(
        _ ticket: LeaseTicket, _ share: PoolWorkload, _ statements: [Statement], seconds: Int?
    ) async throws(PoolFailure) -> [ResultSet] {
        let result = await withCheckedContinuation { answer in
            self.tell(
                .leasedUnit(
                    ticket,
                    PoolUnit(
                        share: share, statements: statements, isRepeatable: false, deadline: self.deadline,
                        statementSeconds: seconds, answer: answer)))
        }
        return try result.get()
    }

    private func tell(_ message: DriverMessage) {
        if !self.mailbox.send(message) { PoolDriver.refuse(message) }
    }

    private var deadline: ContinuousClock.Instant { .now + .seconds(self.settings.acquireSeconds) }
}

/// A connection that one holder has to himself.
struct PoolLease: ~Copyable {
    fileprivate let ticket: LeaseTicket
    fileprivate let share: PoolWorkload
    fileprivate let pool: PostgresPool

    /// Begins a transaction; its settings are made where the connection's do not last. Nothing can have happened by it.
    /// - Parameter seconds: what a statement of this transaction may take, if not what the settings say.
    func begin(then statements: [Statement], seconds: Int? = nil) async throws(PoolFailure) -> [ResultSet] {
        var all = [Statement("BEGIN ISOLATION LEVEL READ COMMITTED")]
        if self.ticket.mode == .pooled { all += Connector.transactionSettings(self.share, self.pool.settings) }
        if let seconds { all.append(Connector.statementLimit(seconds)) }
        do throws(PoolFailure) {
            return Array(try await self.run(all + statements, seconds: seconds).dropFirst(all.count))
        } catch {
            throw PoolFailure(error.error)
        }
    }

    /// - Parameter seconds: as the transaction was begun.
    func run(_ statements: [Statement], seconds: Int? = nil) async throws(PoolFailure) -> [ResultSet] {
        try await self.pool.runLeased(self.ticket, self.share, statements, seconds: seconds)
    }
}
