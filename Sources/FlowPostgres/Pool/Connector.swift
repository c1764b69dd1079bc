import Dispatch

/// Makes connections, one after the other, on a queue of its own: libpq's name look-ups block, and the driver's thread must not.
struct Connector: Sendable {
    private let settings: PostgresSettings
    private let queue = DispatchQueue(label: "flowhub.postgres.connect")

    init(_ settings: PostgresSettings) { self.settings = settings }

    func connect(slot: Int, share: PoolWorkload, reportTo mailbox: Mailbox<DriverMessage>) {
        self.queue.async {
            do throws(PostgresError) {
                let connection = try PostgresConnection(self.settings)
                let mode = try Self.prepare(connection, share, self.settings)
                try connection.enterPipeline()
                mailbox.send(.connected(slot: slot, connection, mode))
            } catch {
                mailbox.send(.connectFailed(slot: slot, error))
            }
        }
    }

    /// Finds out whether a pooler is in between, and sets the time limits where they last.
    static func prepare(
        _ connection: PostgresConnection, _ share: PoolWorkload, _ settings: PostgresSettings
    ) throws(PostgresError) -> ConnectionMode {
        let row = try connection.execute(
            Statement("SELECT pg_backend_pid()::int8"), within: settings.connectSeconds
        ).first
        // A pooler cannot know the process beforehand: it makes up a number for itself.
        guard row?.int64(0) == Int64(connection.statedProcess) else { return .pooled }
        _ = try connection.execute(
            Statement(
                "SELECT set_config('default_transaction_isolation', 'read committed', false), \(Self.limits(share, settings, false))"
            ),
            within: settings.connectSeconds)
        return .direct
    }

    /// What ``prepare(_:_:_:)`` sets, for one transaction, where it would not last. The isolation first: the second has a
    /// snapshot already.
    static func transactionSettings(_ share: PoolWorkload, _ settings: PostgresSettings) -> [Statement] {
        [
            Statement("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"),
            Statement("SELECT \(Self.limits(share, settings, true))"),
        ]
    }

    /// For the rest of one transaction.
    static func statementLimit(_ seconds: Int) -> Statement {
        Statement("SELECT set_config('statement_timeout', '\(seconds)s', true)")
    }

    private static func limits(_ share: PoolWorkload, _ settings: PostgresSettings, _ isLocal: Bool) -> String {
        """
        set_config('statement_timeout', '\(settings.statementSeconds)s', \(isLocal)),
        set_config('lock_timeout', '\(share.lockMilliseconds(settings))ms', \(isLocal)),
        set_config('idle_in_transaction_session_timeout', '\(settings.statementSeconds + settings.lockSeconds)s', \(isLocal))
        """
    }
}
