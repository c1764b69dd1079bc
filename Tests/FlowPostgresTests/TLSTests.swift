import FlowTestKit
import Testing

@testable import FlowPostgres

/// TLS connections: the server's certificate is verified, and a server with a wrong one is rejected.
@Suite struct TLSTests {
    /// The error of a connection with these parameters; `nil` if it succeeds.
    private static func failure(_ server: PostgresServer, host: String = "127.0.0.1", _ parameters: String) -> PostgresError? {
        let url = "postgres://\(PostgresServer.user)@\(host):\(server.port)/postgres?\(parameters)"
        do throws(PostgresError) {
            let connection = try PostgresConnection(PostgresSettings(url: url))
            return connection.isEncrypted ? nil : PostgresError(.statement, "not encrypted")
        } catch {
            return error
        }
    }

    @Test func verifiesServerCertificateAndHostName() async throws {
        let ours = try CertificateAuthority(name: "ours")
        let others = try CertificateAuthority(name: "others")
        defer {
            ours.folder.remove()
            others.folder.remove()
        }
        try ours.certify()
        let files = ["ssl_cert_file=\(ours.serverCertificate)", "ssl_key_file=\(ours.serverKey)"]
        try await PostgresServer.running(options: ["ssl=on"] + files) { server in
            #expect(Self.failure(server, "sslmode=require") == nil)
            #expect(Self.failure(server, "sslmode=verify-full&sslrootcert=\(ours.root)") == nil)
            let wrongAuthority = Self.failure(server, "sslmode=verify-full&sslrootcert=\(others.root)")
            #expect(wrongAuthority?.explanation.contains("certificate verify failed") == true)
            #expect(Self.failure(server, host: "localhost", "sslmode=verify-ca&sslrootcert=\(ours.root)") == nil)
            let wrongName = Self.failure(server, host: "localhost", "sslmode=verify-full&sslrootcert=\(ours.root)")
            #expect(wrongName?.explanation.contains("does not match host name") == true)
            // Migrations and the store use the same parameters.
            let database = try await server.createDatabase()
            let url = server.url(database, parameters: "sslmode=verify-full&sslrootcert=\(ours.root)")
            _ = try await MigrationRunner(PostgresSettings(url: url), logger: logger).run()
            let store = try await openStore(url)
            #expect(try await store.nextFencingToken() > 0)
            await store.close()
        }
    }
}
