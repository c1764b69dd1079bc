import FlowTestKit
import Foundation
import Testing

@testable import FlowPostgres

/// Connections to a server with a certificate: who answers is found out, and somebody else is refused.
@Suite struct TLSTests {
    private struct Authority {
        let folder: TemporaryFolder
        var root: String { self.folder.path + "/root.crt" }

        init(name: String) throws {
            self.folder = try TemporaryFolder()
            try self.openssl(
                [
                    "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-keyout", "root.key",
                    "-out", "root.crt",
                ])
        }

        /// A certificate for a server at 127.0.0.1, and only there.
        func certify() throws {
            try self.openssl(
                ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"])
            try "subjectAltName=IP:127.0.0.1\n".write(toFile: self.folder.path + "/san", atomically: true, encoding: .utf8)
            try self.openssl(
                [
                    "x509", "-req", "-in", "server.csr", "-CA", "root.crt", "-CAkey", "root.key", "-CAcreateserial", "-days", "2",
                    "-extfile", "san", "-out", "server.crt",
                ])
            for file in ["server.key", "server.crt"] {
                try Postgres.give(self.folder.path + "/" + file)
                chmod(self.folder.path + "/" + file, 0o600)
            }
        }

        private func openssl(_ arguments: [String]) throws {
            let paths = ["-keyout", "-out", "-in", "-CA", "-CAkey", "-extfile"]
            let full = arguments.enumerated().map { index, argument in
                index > 0 && paths.contains(arguments[index - 1]) ? "\(self.folder.path)/\(argument)" : argument
            }
            let status = Processes.runToEnd("/usr/bin/openssl", full)
            guard status == 0 else { throw ChildProcess.Failure(description: "openssl \(full) failed (\(status))") }
        }
    }

    /// How a connection with these parameters ends: `nil` if it is there.
    private static func failure(_ server: PostgresServer, host: String = "127.0.0.1", _ parameters: String) -> PostgresError? {
        let url = "postgres://\(PostgresServer.user)@\(host):\(server.port)/postgres?\(parameters)"
        do throws(PostgresError) {
            let connection = try PostgresConnection(PostgresSettings(url: url))
            return connection.isEncrypted ? nil : PostgresError(.statement, "not encrypted")
        } catch {
            return error
        }
    }

    @Test func who_answers_is_found_out() async throws {
        let ours = try Authority(name: "ours")
        let others = try Authority(name: "others")
        defer {
            ours.folder.remove()
            others.folder.remove()
        }
        try ours.certify()
        let files = "\(ours.folder.path)/server"
        try await PostgresServer.running(options: ["ssl=on", "ssl_cert_file=\(files).crt", "ssl_key_file=\(files).key"]) {
            server in
            #expect(Self.failure(server, "sslmode=require") == nil)
            #expect(Self.failure(server, "sslmode=verify-full&sslrootcert=\(ours.root)") == nil)
            let wrongAuthority = Self.failure(server, "sslmode=verify-full&sslrootcert=\(others.root)")
            #expect(wrongAuthority?.explanation.contains("certificate verify failed") == true)
            #expect(Self.failure(server, host: "localhost", "sslmode=verify-ca&sslrootcert=\(ours.root)") == nil)
            let wrongName = Self.failure(server, host: "localhost", "sslmode=verify-full&sslrootcert=\(ours.root)")
            #expect(wrongName?.explanation.contains("does not match host name") == true)
            // The whole store on it.
            let database = try await server.createDatabase()
            let url = server.url(database, parameters: "sslmode=verify-full&sslrootcert=\(ours.root)")
            _ = try await MigrationRunner(PostgresSettings(url: url), logger: logger).run()
            let store = try await openStore(url)
            #expect(try await store.nextFencingToken() > 0)
            await store.close()
        }
    }
}
