import FlowCore
import Testing

@testable import FlowPostgres

/// Which errors waiting, or a new connection, may cure.
struct PostgresErrorTests {
    @Test(arguments: [
        "connection to server at \"db\" (10.0.0.1), port 5432 failed: Connection refused",
        "could not translate host name \"db\" to address: Temporary failure in name resolution",
        "connection to server failed: FATAL:  the database system is starting up",
        "connection to server failed: FATAL:  the database system is shutting down",
        "connection to server failed: FATAL:  sorry, too many clients already", "timeout expired",
        "connection to server failed: FATAL:  terminating connection due to administrator command",
    ]) func outagesAreWaitedFor(_ message: String) {
        #expect(PostgresError(connecting: message, needsPassword: false).isOutage)
    }

    @Test(arguments: [
        "FATAL:  password authentication failed for user \"hub\"", "FATAL:  database \"hub\" does not exist",
        "FATAL:  role \"hub\" does not exist", "FATAL:  no pg_hba.conf entry for host \"10.0.0.2\", user \"hub\"",
        "FATAL:  role \"hub\" is not permitted to log in", "SSL error: certificate verify failed",
        "server certificate for \"a\" does not match host name \"b\"", "server does not support SSL, but SSL was required",
        "FATAL:  no such database: hub",
    ]) func mistakesInTheConfigurationAreNot(_ message: String) {
        #expect(!PostgresError(connecting: message, needsPassword: false).isOutage)
    }

    @Test(arguments: ["25006", "57P01", "57P02", "57P03", "57P05", "53300", "25P03", "08006"])
    func connectionIsReplacedAfter(_ state: String) {
        #expect(PostgresError(state: state, severity: "ERROR", message: "", constraint: nil).concernsConnection)
    }

    @Test(arguments: ["23505", "40001", "40P01", "55P03", "57014", "22P02", "53100", "42501"])
    func connectionIsKeptAfter(_ state: String) {
        #expect(!PostgresError(state: state, severity: "ERROR", message: "", constraint: nil).concernsConnection)
        #expect(PostgresError(state: state, severity: "FATAL", message: "", constraint: nil).concernsConnection)
    }

    /// A lost reply leaves open whether a change was made, unless the caller says why it does not matter.
    @Test func outcomeIsUnknownUnlessItCannotMatter() {
        let lost = PoolFailure(error: PostgresError(.connection, "lost"), mayHaveTakenEffect: true)
        #expect(StoreError(lost) == .outcomeUnknown("lost"))
        #expect(StoreError(lost.withoutEffect(.isRead)) == .unavailable("lost"))
        #expect(StoreError(PoolFailure(.epochChanged)) == .epochChanged)
    }
}
