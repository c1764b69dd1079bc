import Dispatch
import Synchronization

/// Opens connections one after the other on a dispatch queue of its own, because libpq's name lookups block. The
/// driver's thread must not block, because it serves all connections.
final class Connector: Sendable {
    private let settings: PostgresSettings
    private let queue = DispatchQueue(label: "flowhub.postgres.connect")
    /// Whether attempts that have not started are skipped.
    private let isClosed = Atomic(false)

    init(_ settings: PostgresSettings) { self.settings = settings }

    /// Opens a connection in pipeline mode, and reports it or the failure to the driver's mailbox.
    /// - Parameter slot: index of the connection slot in the driver.
    func connect(slot: Int, workload: PoolWorkload, reportTo mailbox: Mailbox<DriverMessage>) {
        self.queue.async {
            guard !self.isClosed.load(ordering: .relaxed) else { return }
            do throws(PostgresError) {
                let connection = try PostgresConnection(self.settings)
                let session = try Self.prepare(connection, workload, self.settings)
                try connection.enterPipeline()
                mailbox.send(.connected(slot: slot, connection, session))
            } catch {
                mailbox.send(.connectFailed(slot: slot, error))
            }
        }
    }

    /// Skips the attempts that have not started, and blocks until the running one has ended: at most the connect timeout
    /// per address, and as much for the first reply. libpq runs Kerberos and OpenSSL, whose exit handlers free what an
    /// attempt uses, so a process that exits during an attempt could crash.
    func close() {
        self.isClosed.store(true, ordering: .relaxed)
        self.queue.sync {}
    }

    /// Detects a pooler, and whether the server accepts writes. On a direct connection, sets the session's isolation level,
    /// timeouts and search path.
    static func prepare(
        _ connection: PostgresConnection, _ workload: PoolWorkload, _ settings: PostgresSettings
    ) throws(PostgresError) -> SessionProperties {
        let row = try connection.execute(
            // On a standby `transaction_read_only` is always on.
            Statement("SELECT pg_backend_pid()::int8, current_setting('transaction_read_only') = 'on'"),
            within: settings.connectSeconds
        ).first
        let isReadOnly = row?.bool(1) == true
        // A pooler does not know the server process in advance, so it reports a made-up process id on connect.
        guard row?.int64(0) == Int64(connection.reportedBackendPID) else {
            return SessionProperties(mode: .pooled, isReadOnly: isReadOnly)
        }
        _ = try connection.execute(
            Statement(
                "SELECT set_config('default_transaction_isolation', 'read committed', false), \(Self.limits(workload, settings, false))"
            ),
            within: settings.connectSeconds)
        return SessionProperties(mode: .direct, isReadOnly: isReadOnly)
    }

    /// Creates the statements that make the settings of ``prepare(_:_:_:)`` for one transaction. Used with a pooler,
    /// where settings of a session do not last. The isolation level comes first: it cannot be set after a statement
    /// that takes an MVCC snapshot.
    static func transactionSettings(_ workload: PoolWorkload, _ settings: PostgresSettings) -> [Statement] {
        [
            Statement("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"),
            Statement("SELECT \(Self.limits(workload, settings, true))"),
        ]
    }

    /// Creates the statement that sets the statement timeout, in seconds, for the rest of the current transaction.
    static func statementLimit(_ seconds: Int) -> Statement {
        Statement("SELECT set_config('statement_timeout', '\(seconds)s', true)")
    }

    /// The SQL calls that set the timeouts, and the search path if the hub's tables have a schema of their own.
    /// - Parameter isLocal: whether they apply to the current transaction only, not to the session.
    private static func limits(_ workload: PoolWorkload, _ settings: PostgresSettings, _ isLocal: Bool) -> String {
        """
        set_config('statement_timeout', '\(settings.statementSeconds)s', \(isLocal)),
        set_config('lock_timeout', '\(workload.lockMilliseconds(settings))ms', \(isLocal)),
        set_config('idle_in_transaction_session_timeout', '\(settings.statementSeconds + settings.lockSeconds)s', \(isLocal))
        """ + (settings.schema.map { ",\n" + SearchPath.beginning(with: [$0], isLocal: isLocal) } ?? "")
    }
}
