import Foundation
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// A PgBouncer in front of a ``PostgresServer``.
public final class PgBouncer: Sendable {
    public let port: Int
    private let folder: TemporaryFolder
    private let process = Mutex<ChildProcess?>(nil)

    private init(_ server: PostgresServer, poolSize: Int, mode: String) throws {
        self.folder = try TemporaryFolder()
        self.port = try FreePort.choose()
        try Postgres.changeOwner(self.folder.path)
        let configuration = """
            [databases]
            * = host=127.0.0.1 port=\(server.port)
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = \(self.port)
            unix_socket_dir =
            auth_type = any
            pool_mode = \(mode)
            default_pool_size = \(poolSize)
            max_client_conn = 200
            query_wait_timeout = 4
            server_login_retry = 1
            auth_file = \(self.folder.path)/users
            """
        // With auth_type any every user is accepted; PgBouncer connects to the server as the user in [databases].
        try (configuration.replacingOccurrences(of: "* = ", with: "* = user=\(PostgresServer.user) "))
            .write(toFile: self.folder.path + "/pgbouncer.ini", atomically: true, encoding: .utf8)
        try "\"\(PostgresServer.user)\" \"\"\n".write(toFile: self.folder.path + "/users", atomically: true, encoding: .utf8)
    }

    /// - Parameter mode: its `pool_mode`.
    public static func running<Result>(
        before server: PostgresServer, poolSize: Int = 20, mode: String = "transaction",
        _ body: (PgBouncer) async throws -> Result
    ) async throws -> Result {
        let bouncer = try PgBouncer(server, poolSize: poolSize, mode: mode)
        do {
            try await bouncer.start()
            let result = try await body(bouncer)
            await bouncer.destroy()
            return result
        } catch {
            await bouncer.destroy()
            throw error
        }
    }

    public func start() async throws {
        let process = try Postgres.start("pgbouncer", [self.folder.path + "/pgbouncer.ini"], folder: self.folder.path)
        self.process.withLock { $0 = process }
        try await eventually("PgBouncer to listen", within: .seconds(20), every: .milliseconds(20)) {
            if let exit = process.exit {
                throw ChildProcess.Failure(description: "PgBouncer exited at startup (\(exit)): \(process.errorOutput)")
            }
            return FreePort.isInUse(self.port)
        }
    }

    public func kill() async throws {
        guard let process = self.process.withLock({ $0 }) else { return }
        process.send(SIGKILL)
        _ = try await process.waitForExit()
    }

    public func pause() { self.process.withLock { $0 }?.send(SIGSTOP) }
    public func resume() { self.process.withLock { $0 }?.send(SIGCONT) }

    private func destroy() async {
        await self.process.withLock { $0 }?.destroy()
        self.folder.remove()
    }

    public func url(_ database: String) -> String {
        "postgres://\(PostgresServer.user)@127.0.0.1:\(self.port)/\(database)"
    }
}
