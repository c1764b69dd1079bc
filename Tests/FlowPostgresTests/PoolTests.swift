import FlowCore
import FlowTestKit
import Foundation
import Testing

@testable import FlowPostgres

#if canImport(Glibc)
import Glibc
#endif

/// The pool on a real server: values in both directions, the outcome of units whose connection is lost, and no leaked
/// connections or files.
@Suite(.serialized, .postgres()) struct PoolTests {
    private func withPool(
        _ change: (inout PostgresSettings) -> Void = { _ in }, _ body: (PostgresPool, PostgresServer) async throws -> Void
    ) async throws {
        let server = try SharedPostgres.server
        var settings = PostgresSettings(url: server.url("postgres"))
        change(&settings)
        let pool = try PostgresPool(settings, logger: logger)
        do {
            try await body(pool, server)
        } catch {
            await pool.close()
            throw error
        }
        await pool.close()
    }

    @Test func valuesRoundTripPreparedAndUnprepared() async throws {
        try await self.withPool { pool, _ in
            for _ in 0..<3 {
                var parameters = ParameterList()
                parameters.add("quotes ' \" \\ and ü, 𝄞, \u{1}")
                parameters.add("")
                parameters.add(Int64.min)
                parameters.add(start)
                parameters.add(["a,b", "{}", "", "\"x\""])
                parameters.add([Int64.max, -1])
                parameters.add([String]())
                parameters.add(nil as String?)
                parameters.add(nil as JSONText?)
                parameters.add(JSONText.emptyObject as JSONText?)
                let row = try await pool.run(
                    .reads,
                    [
                        Statement(
                            "SELECT $1::text, $2::text, $3::int8, $4::timestamptz, array_to_string($5, '|'), $6[1] + $6[2], cardinality($7), NULL::text, $8, $9, $10",
                            parameters)
                    ], isRetryable: true)[0].first
                let found = try #require(row)
                #expect(found.text(0) == "quotes ' \" \\ and ü, 𝄞, \u{1}")
                #expect(found.text(1) == "")
                #expect(found.int64(2) == Int64.min)
                #expect(found.time(3) == start)
                #expect(found.text(4) == "a,b|{}||\"x\"")
                #expect(found.int64(5) == Int64.max - 1)
                #expect(found.int64(6) == 0)
                #expect(found.isNull(7) && found.text(7) == nil)
                #expect(found.isNull(8) && found.isNull(9))
                #expect(found.json(10) == .emptyObject)
            }
        }
    }

    @Test func errorAffectsOnlyItsUnit() async throws {
        try await self.withPool { pool, _ in
            func code(_ sql: String) async -> PostgresError.Code? {
                do throws(PoolFailure) {
                    _ = try await pool.run(.reads, [Statement(sql)], isRetryable: true)
                    return nil
                } catch {
                    #expect(!error.mayHaveTakenEffect)
                    return error.error.code
                }
            }
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<60 {
                    group.addTask {
                        switch number % 3 {
                        case 0: #expect(await code("SELECT 1") == nil)
                        case 1: #expect(await code("SELECT 1 / 0") == .data)
                        default: #expect(await code("SELECT FROM nowhere") == .schema)
                        }
                    }
                }
            }
        }
    }

    @Test func retriesReadButNotChangeAfterLostConnection() async throws {
        try await self.withPool({
            $0.readConnections = 1; $0.changeConnections = 1
        }) { pool, server in
            async let read = pool.run(.reads, [Statement("SELECT 7::int8, pg_sleep(1)")], isRetryable: true)
            async let change: String = {
                do throws(PoolFailure) {
                    _ = try await pool.run(.changes, [Statement("SELECT 8::int8, pg_sleep(1)")], isRetryable: false)
                    return "done"
                } catch {
                    return error.mayHaveTakenEffect ? "unknown" : "not done"
                }
            }()
            try await eventually("both to run") {
                try await server.query(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", in: "postgres") == "2"
            }
            try await server.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", in: "postgres")
            #expect(try await read[0].first?.int64(0) == 7)
            #expect(await change == "unknown")
        }
    }

    @Test func abandonedLeaseRollsBackTransaction() async throws {
        try await self.withPool({ $0.controlConnections = 1 }) { pool, server in
            try await server.query("CREATE TABLE IF NOT EXISTS leased (n int); TRUNCATE leased", in: "postgres")
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<10 {
                    group.addTask {
                        _ = try? await pool.withLease(.control) { lease async throws(PoolFailure) in
                            _ = try await lease.begin(then: [Statement("INSERT INTO leased VALUES (\(number))")])
                            if number % 2 == 0 { throw PoolFailure(.tooMuchContention) }
                            _ = try await lease.run([Statement("COMMIT")])
                        }
                    }
                }
            }
            #expect(try await server.query("SELECT count(*), sum(n) FROM leased", in: "postgres") == "5|25")
        }
    }

    @Test func unreachableServerAndLongStatementTimeOut() async throws {
        var settings = PostgresSettings(url: "postgres://nobody@127.0.0.1:1/none")
        settings.acquireSeconds = 2
        let pool = try PostgresPool(settings, logger: logger)
        let started = ContinuousClock.now
        await #expect(throws: PoolFailure.self) { try await pool.run(.reads, [Statement("SELECT 1")], isRetryable: true) }
        #expect(ContinuousClock.now - started < .seconds(4))
        await pool.close()
        try await self.withPool({
            $0.statementSeconds = 1; $0.acquireSeconds = 1
        }) { pool, _ in
            do throws(PoolFailure) {
                _ = try await pool.run(.reads, [Statement("SELECT pg_sleep(60)")], isRetryable: true)
                Issue.record("the statement did not fail")
            } catch {
                #expect(error.error.code == .timeout)
            }
        }
    }

    @Test func statementTimeoutCanBeRaisedPerCall() async {
        // A unit and a lease at the same time, each on the only connection of a pool.
        await concurrently([false, true]) { isLeased in
            try await self.withPool({
                $0.statementSeconds = 1; $0.lockSeconds = 1; $0.importConnections = 1
            }) { pool, _ in
                // Longer than the default limits of the server and the driver.
                let long = Statement("SELECT 7::int8, pg_sleep(5)")
                if isLeased {
                    let leased = try await pool.withLease(.imports) { lease async throws(PoolFailure) in
                        let found = try await lease.begin(then: [long], seconds: 20)
                        _ = try await lease.run([Statement("COMMIT")])
                        return found[0].first?.int64(0)
                    }
                    #expect(leased == 7)
                } else {
                    #expect(try await pool.run(.imports, [long], isRetryable: true, seconds: 20)[0].first?.int64(0) == 7)
                }
                // The next unit has the default timeout again.
                let failure = await #expect(throws: PoolFailure.self) {
                    try await pool.run(.imports, [Statement("SELECT pg_sleep(60)")], isRetryable: true)
                }
                #expect(failure?.error.code == .timeout)
            }
        }
    }

    @Test func waitingLeaseIsServedBeforeLaterUnits() async throws {
        try await self.withPool({ $0.importConnections = 1 }) { pool, _ in
            let order = AsyncValue<[String]>([])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    _ = try await pool.run(.imports, [Statement("SELECT pg_sleep(0.3)")], isRetryable: true)
                }
                try await eventually("it to run") {
                    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(0.3)%'"
                    return try await pool.run(.reads, [Statement(running)], isRetryable: true)[0].first?.int64(0) == 1
                }
                // Started immediately, so that the requests for leases are queued in order.
                group.addImmediateTask {
                    try await pool.withLease(.imports) { lease async throws(PoolFailure) in
                        _ = try await lease.run([Statement("SELECT 1")])
                        order.change { $0.append("lease") }
                    }
                }
                for _ in 0..<20 {
                    group.addImmediateTask {
                        _ = try await pool.run(.imports, [Statement("SELECT 1")], isRetryable: true)
                        order.change { $0.append("unit") }
                    }
                }
                try await group.waitForAll()
            }
            #expect(order.value.first == "lease")
            #expect(order.value.count == 21)
        }
    }

    @Test func closedPoolLeavesNoConnectionsOrFiles() async throws {
        let server = try SharedPostgres.server
        let before = ProcessMetrics(of: getpid())?.openFiles ?? 0
        for round in 0..<40 {
            let pool = try PostgresPool(PostgresSettings(url: server.url("postgres")), logger: logger)
            if round % 2 == 0 {
                async let answer = pool.run(.reads, [Statement("SELECT pg_sleep(0.02)")], isRetryable: true)
                if round % 4 == 0 { _ = try await answer } else { _ = try? await answer }
            }
            await pool.close()
            await #expect(throws: PoolFailure.self) { try await pool.run(.reads, [Statement("SELECT 1")], isRetryable: true) }
        }
        try await eventually("connections to be gone") {
            try await server.query(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flowhub'", in: "postgres") == "0"
        }
        try await eventually("files to be closed") { (ProcessMetrics(of: getpid())?.openFiles ?? 0) <= before + 2 }
    }

    /// A process that exits while libpq connects can crash in the exit handlers of libraries that libpq uses.
    @Test func closeWaitsForRunningConnectionAttempt() async throws {
        let server = try SilentServer()
        var settings = PostgresSettings(url: "postgres://hub@127.0.0.1:\(server.port)/hub")
        settings.connectSeconds = 2
        let pool = try PostgresPool(settings, logger: logger)
        let peer = try server.accept(withinMilliseconds: 10_000)
        await pool.close()
        #expect(server.isClosedByClient(peer))
        #expect(throws: TimedOut.self) { try server.accept(withinMilliseconds: 0) }
    }
}

/// A TCP server on a free port of the loopback address. It accepts connections and never replies.
private final class SilentServer {
    let port: UInt16
    private let listener: Int32

    init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 8) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isListening else { throw POSIXError(.EADDRNOTAVAIL) }
        self.listener = listener
        self.port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(self.listener) }

    /// - Returns: the descriptor of the accepted connection.
    /// - Throws: ``TimedOut`` if no client connects in time.
    func accept(withinMilliseconds milliseconds: Int32) throws -> Int32 {
        var descriptor = pollfd(fd: self.listener, events: Int16(POLLIN), revents: 0)
        guard poll(&descriptor, 1, milliseconds) == 1 else { throw TimedOut("a connection") }
        return Glibc.accept(self.listener, nil, nil)
    }

    /// Reads what has arrived, and closes the connection.
    /// - Returns: whether the client had closed its side before the call.
    func isClosedByClient(_ peer: Int32) -> Bool {
        defer { close(peer) }
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = recv(peer, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count <= 0 { return count == 0 }
        }
    }
}
