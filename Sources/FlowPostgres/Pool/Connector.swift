import Dispatch

/// Makes connections, one after the other, on a queue of its own: libpq's name look-ups block, and the driver's thread must not.
struct Connector: Sendable {
    private let settings: PostgresSettings
    private let queue = DispatchQueue(label: "flowhub.postgres.connect")

    init(_ settings: PostgresSettings) { self.settings = settings }

    func connect(slot: Int, reportTo mailbox: Mailbox<DriverMessage>) {
        self.queue.async {
            do throws(PostgresError) {
                let connection = try PostgresConnection(self.settings)
                let mode = try Self.prepare(connection, self.settings)
                try connection.enterPipeline()
                mailbox.send(.connected(slot: slot, connection, mode))
            } catch {
                mailbox.send(.connectFailed(slot: slot, error))
            }
        }
    }

    /// Finds out whether a pooler is in between, and sets the time limits where they last.
    static func prepare(
        _ connection: PostgresConnection, _ settings: PostgresSettings
    ) throws(PostgresError) -> ConnectionMode {
        let row = try connection.execute(
            Statement("SELECT pg_backend_pid()::int8"), within: settings.connectSeconds
        ).first
        // A pooler cannot know the process beforehand: it makes up a number for itself.
        guard row?.int64(0) == Int64(connection.statedProcess) else { return .pooled }
        let session = Statement(
            """
            SELECT set_config('default_transaction_isolation', 'read committed', false),
                set_config('statement_timeout', '\(settings.statementSeconds)s', false),
                set_config('lock_timeout', '\(settings.lockSeconds)s', false),
                set_config('idle_in_transaction_session_timeout', '\(settings.statementSeconds + settings.lockSeconds)s', false)
            """)
        _ = try connection.execute(session, within: settings.connectSeconds)
        return .direct
    }

    /// The time limits for one transaction: what ``prepare(_:_:)`` sets, where it would not last.
    static func transactionLimits(_ settings: PostgresSettings) -> Statement {
        Statement(
            """
            SELECT set_config('statement_timeout', '\(settings.statementSeconds)s', true),
                set_config('lock_timeout', '\(settings.lockSeconds)s', true),
                set_config('idle_in_transaction_session_timeout', '\(settings.statementSeconds + settings.lockSeconds)s', true)
            """)
    }
}
