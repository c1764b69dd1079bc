import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// A certificate authority for tests. Its files are in a temporary folder; it issues certificates for servers at 127.0.0.1.
public struct CertificateAuthority: Sendable {
    public let folder: TemporaryFolder

    /// Path of the root certificate that clients must trust.
    public var root: String { self.folder.path + "/root.crt" }
    public var serverCertificate: String { self.folder.path + "/server.crt" }
    public var serverKey: String { self.folder.path + "/server.key" }

    /// - Parameter folder: folder for its files. If `nil`, a temporary folder is created, which the caller must remove.
    public init(name: String, folder: TemporaryFolder? = nil) throws {
        self.folder = try folder ?? TemporaryFolder()
        try self.openssl(
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=\(name)", "-keyout", "root.key",
                "-out", "root.crt",
            ])
    }

    /// Creates a key and a certificate that is valid for a server at 127.0.0.1 only.
    public func certify() throws {
        try self.openssl(
            [
                "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=server", "-keyout",
                "server.key", "-out", "server.csr",
            ])
        try "subjectAltName=IP:127.0.0.1\n".write(toFile: self.folder.path + "/san", atomically: true, encoding: .utf8)
        try self.openssl(
            [
                "x509", "-req", "-in", "server.csr", "-CA", "root.crt", "-CAkey", "root.key", "-CAcreateserial", "-days", "2",
                "-extfile", "san", "-out", "server.crt",
            ])
        for file in [self.serverKey, self.serverCertificate] {
            try Postgres.changeOwner(file)
            chmod(file, 0o600)
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
