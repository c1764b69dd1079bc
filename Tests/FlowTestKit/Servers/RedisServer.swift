import Foundation
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// A Redis server for tests, on a free port of the loopback interface. It has no persistence: a restart empties it.
public final class RedisServer: Sendable {
    public let port: Int
    public let folder: TemporaryFolder
    public let password: String?
    public let isEncrypted: Bool
    private let options: [String]
    private let process = Mutex<ChildProcess?>(nil)

    /// Path of the root certificate that clients must trust; `nil` without TLS.
    public var root: String? { self.isEncrypted ? self.folder.path + "/root.crt" : nil }
    private var configurationFile: String { self.folder.path + "/redis.conf" }

    /// - Parameters:
    ///   - options: further lines of its configuration, as `name value`.
    ///   - isEncrypted: whether it accepts only TLS, with a certificate for 127.0.0.1.
    public init(options: [String] = [], password: String? = nil, isEncrypted: Bool = false) throws {
        self.folder = try TemporaryFolder()
        self.port = try FreePort.choose()
        self.options = options
        self.password = password
        self.isEncrypted = isEncrypted
    }

    /// Runs a server for the duration of the body, then stops it and removes its folder.
    public static func running<Result>(
        options: [String] = [], password: String? = nil, isEncrypted: Bool = false,
        _ body: (RedisServer) async throws -> Result
    ) async throws -> Result {
        let server = try RedisServer(options: options, password: password, isEncrypted: isEncrypted)
        do {
            try server.create()
            try await server.start()
            let result = try await body(server)
            await server.destroy()
            return result
        } catch {
            await server.destroy()
            throw error
        }
    }

    // MARK: Lifecycle

    /// Creates the configuration and, for TLS, the certificate.
    public func create() throws {
        var lines = ["bind 127.0.0.1", "dir \(self.folder.path)", "daemonize no", "save \"\"", "appendonly no"]
        if self.isEncrypted {
            let authority = try CertificateAuthority(name: "authority", folder: self.folder)
            try authority.certify()
            lines += [
                "port 0", "tls-port \(self.port)", "tls-auth-clients no", "tls-ca-cert-file \(authority.root)",
                "tls-cert-file \(authority.serverCertificate)", "tls-key-file \(authority.serverKey)",
            ]
        } else {
            lines.append("port \(self.port)")
        }
        if let password = self.password { lines.append("requirepass \"\(password)\"") }
        try (lines + self.options).joined(separator: "\n")
            .write(toFile: self.configurationFile, atomically: true, encoding: .utf8)
    }

    public func start() async throws {
        if self.process.withLock({ $0.map { $0.exit == nil } }) == true {
            throw ChildProcess.Failure(description: "Redis is already running")
        }
        let process = try ChildProcess(
            Self.path("redis-server"), [self.configurationFile], environment: [:], folder: self.folder.path)
        self.process.withLock { $0 = process }
        try await eventually("Redis to listen", within: .seconds(20)) {
            if let exit = process.exit {
                let output = process.output + process.errorOutput
                throw ChildProcess.Failure(description: "Redis exited at startup (\(exit)): \(output)")
            }
            return FreePort.isInUse(self.port)
        }
        try await self.command(["PING"])
    }

    /// Sends SIGKILL.
    public func kill() async throws { try await self.end(SIGKILL) }

    /// Sends SIGTERM: orderly shutdown.
    public func stop() async throws { try await self.end(SIGTERM) }

    public func pause() { self.process.withLock { $0 }?.send(SIGSTOP) }
    public func resume() { self.process.withLock { $0 }?.send(SIGCONT) }

    /// Kills and restarts the server, which loses all its data.
    public func restartEmpty() async throws {
        try await self.kill()
        try await self.start()
    }

    public func destroy() async {
        await self.process.withLock { $0 }?.destroy()
        self.folder.remove()
    }

    private func end(_ signal: Int32) async throws {
        guard let process = self.process.withLock({ $0 }) else { return }
        process.send(signal)
        // A paused process does not handle SIGTERM before it continues.
        process.send(SIGCONT)
        _ = try await process.waitForExit()
    }

    // MARK: Use

    /// The URL with the password: `redis://…`, or `rediss://…` with TLS.
    public var url: String { self.url(port: self.port) }

    /// The URL of the same server through another port, such as a proxy's.
    public func url(port: Int) -> String {
        let unreserved = CharacterSet(charactersIn: "-._~").union(.alphanumerics)
        let password = self.password?.addingPercentEncoding(withAllowedCharacters: unreserved)
        return (self.isEncrypted ? "rediss://" : "redis://") + (password.map { "default:\($0)@" } ?? "") + "127.0.0.1:\(port)"
    }

    /// Runs a command with `redis-cli`.
    /// - Parameter port: port to connect to; `nil`: the server's own.
    /// - Returns: the reply in raw format, one element per line.
    /// - Throws: ``ChildProcess/Failure`` if `redis-cli` fails or the reply is an error.
    @discardableResult
    public func command(_ arguments: [String], port: Int? = nil) async throws -> String {
        var connection = ["-h", "127.0.0.1", "-p", "\(port ?? self.port)", "--no-auth-warning", "-e"]
        if let root = self.root { connection += ["--tls", "--cacert", root] }
        let client = try ChildProcess(
            Self.path("redis-cli"), connection + arguments, environment: self.password.map { ["REDISCLI_AUTH": $0] } ?? [:],
            folder: self.folder.path)
        let exit: ChildProcess.Exit
        do {
            exit = try await client.waitForExit()
        } catch {
            await client.destroy()
            throw error
        }
        guard exit == .code(0) else {
            throw ChildProcess.Failure(description: "redis-cli (\(exit)): \(client.errorOutput)\(client.output)")
        }
        return client.output.hasSuffix("\n") ? String(client.output.dropLast()) : client.output
    }

    /// Deletes all data.
    public func flush() async throws { try await self.command(["FLUSHALL"]) }

    private static func path(_ program: String) throws -> String {
        let path = "/usr/bin/\(program)"
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw ChildProcess.Failure(description: "\(program) was not found. Install Debian's package redis-server.")
        }
        return path
    }
}
