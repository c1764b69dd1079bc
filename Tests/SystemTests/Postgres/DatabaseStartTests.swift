import FlowTestKit
import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// A database that is unavailable when the hub starts.
struct DatabaseStartTests {
    @Test func waitsForDatabase() async throws {
        let server = try PostgresServer()
        do {
            try await server.create()
            try await Self.running("postgres://\(PostgresServer.user)@127.0.0.1:\(server.port)/postgres") { hub in
                try await eventually("the wait") { hub.errorOutput.contains("Waiting for Postgres") }
                #expect(hub.exit == nil)
                try await server.start()
                try await eventually("the hub to listen", within: .seconds(30)) { hub.errorOutput.contains(" Listening ") }
                hub.send(SIGTERM)
                #expect(try await hub.waitForExit() == .code(0))
            }
        } catch {
            await server.destroy()
            throw error
        }
        await server.destroy()
    }

    /// Where waiting cannot help, or is turned off, the hub ends at once with the reason.
    @Test func endsAtOnceIfWaitingCannotHelp() async throws {
        try await PostgresServer.running { server in
            let (exit, _, errors) = try await SettingsTests.run(["serve"], ["DATABASE_URL": server.url("nowhere")])
            #expect(exit == .code(1) && errors.contains("\"nowhere\" does not exist"), "\(errors)")
            #expect(!errors.contains("Waiting"))
        }
        let port = try FreePort.choose()
        let (exit, _, errors) = try await SettingsTests.run(
            ["serve"], ["DATABASE_URL": "postgres://a@127.0.0.1:\(port)/b", "FLOWHUB_PG_START_SECONDS": "0"])
        #expect(exit == .code(1) && errors.contains("cannot connect to the database"), "\(errors)")
        #expect(!errors.contains("Waiting"))
    }

    @Test func endsWhenTheWaitIsOver() async throws {
        let port = try FreePort.choose()
        let (exit, _, errors) = try await SettingsTests.run(
            ["serve"], ["DATABASE_URL": "postgres://a@127.0.0.1:\(port)/b", "FLOWHUB_PG_START_SECONDS": "1"])
        #expect(exit == .code(1) && errors.contains("Waiting for Postgres"), "\(errors)")
        #expect(errors.contains("The hub cannot start: cannot connect to the database"), "\(errors)")
    }

    @Test(arguments: [SIGTERM, SIGINT]) func signalEndsTheWait(_ signal: Int32) async throws {
        try await Self.running("postgres://a@127.0.0.1:\(FreePort.choose())/b") { hub in
            try await eventually("the wait") { hub.errorOutput.contains("Waiting for Postgres") }
            hub.send(signal)
            #expect(try await hub.waitForExit(within: .seconds(2)) == .code(0), "\(hub.errorOutput)")
        }
    }

    /// A server that accepts connections and never replies blocks an attempt to connect, but not the end of the hub.
    @Test func signalEndsAttemptToConnect() async throws {
        let silent = try SilentServer()
        defer { silent.close() }
        let url = "postgres://a@127.0.0.1:\(silent.port)/b"
        try await Self.running(url, ["FLOWHUB_PG_CONNECT_SECONDS": "300"]) { hub in
            try await silent.waitForClient()
            hub.send(SIGTERM)
            #expect(try await hub.waitForExit(within: .seconds(2)) == .code(0), "\(hub.errorOutput)")
        }
    }

    /// Starts a hub on this database without waiting until it listens.
    private static func running(
        _ url: String, _ environment: [String: String] = [:], _ body: (ChildProcess) async throws -> Void
    ) async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let all = ["DATABASE_URL": url, "PORT": "0", "SWIFT_BACKTRACE": "enable=no"].merging(environment) { $1 }
        let hub = try ChildProcess(HubBinary.path(), ["serve"], environment: all, folder: folder.path)
        do {
            try await body(hub)
        } catch {
            await hub.destroy()
            throw error
        }
        await hub.destroy()
    }

    /// A TCP server that never sends anything.
    private final class SilentServer: Sendable {
        let port: Int
        private let listener: Int32

        init() throws {
            self.port = try FreePort.choose()
            self.listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(UInt16(self.port).bigEndian)
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            let listener = self.listener
            let isBound = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            try #require(isBound && listen(self.listener, 16) == 0)
        }

        /// Waits until a client has sent its first bytes. Its connection stays open.
        func waitForClient() async throws {
            try await eventually("a client") {
                let client = accept(self.listener, nil, nil)
                return client >= 0
            }
        }

        func close() { _ = Glibc.close(self.listener) }
    }
}
