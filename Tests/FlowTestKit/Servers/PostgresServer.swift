import Foundation
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// A PostgreSQL server for tests, on a free port of the loopback interface, with its data in a temporary folder. It can be
/// killed and restarted, and its data can be copied while it is stopped.
public final class PostgresServer: Sendable {
    public let port: Int
    public let folder: TemporaryFolder
    private let process = Mutex<ChildProcess?>(nil)
    private let databases = Atomic<Int>(0)
    private let options: [String]

    public static let user = "flowhub"

    private var dataFolder: String { self.folder.path + "/data" }

    /// - Parameter options: further settings, as `name=value`.
    public init(options: [String] = [], folder: TemporaryFolder? = nil) throws {
        self.folder = try folder ?? TemporaryFolder()
        self.port = try FreePort.choose()
        self.options = options
    }

    /// Runs a server for the duration of the body, then stops it and removes its folder.
    public static func running<Result>(
        options: [String] = [], _ body: (PostgresServer) async throws -> Result
    ) async throws -> Result {
        let server = try PostgresServer(options: options)
        do {
            try await server.create()
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

    /// Creates the database cluster: a copy of one that `initdb` has made for all servers of this process.
    public func create() async throws {
        try Postgres.changeOwner(self.folder.path)
        try Self.cp(try await Self.template.value, self.dataFolder)
    }

    private static let template = Task<String, any Error> {
        let folder = try TemporaryFolder()
        folder.removeAtExit()
        try Postgres.changeOwner(folder.path)
        let data = folder.path + "/data"
        try await Postgres.run(
            "initdb", ["--auth=trust", "--username=\(PostgresServer.user)", "--encoding=UTF8", "--no-sync", "-D", data],
            folder: folder.path)
        return data
    }

    public func start() async throws {
        let settings =
            [
                "listen_addresses=127.0.0.1", "port=\(self.port)", "unix_socket_directories=", "max_connections=100",
                // fsync is off: the tests kill processes and never the machine, so the kernel keeps written data.
                "fsync=off", "shared_buffers=64MB", "logging_collector=off",
            ] + self.options
        let process = try Postgres.start(
            "postgres", ["-D", self.dataFolder] + settings.flatMap { ["-c", $0] }, folder: self.folder.path)
        self.process.withLock { $0 = process }
        try await eventually("PostgreSQL to listen", within: .seconds(60), every: .milliseconds(20)) {
            if let exit = process.exit {
                throw ChildProcess.Failure(description: "PostgreSQL exited at startup (\(exit)): \(process.errorOutput)")
            }
            return try await self.isReady()
        }
    }

    public func isReady() async throws -> Bool {
        let process = try Postgres.start(
            "pg_isready", ["-q", "-h", "127.0.0.1", "-p", "\(self.port)", "-d", "postgres"], folder: self.folder.path)
        return try await process.waitForExit() == .code(0)
    }

    /// Sends SIGKILL to the server and its child processes, and waits until all are gone.
    public func kill() async throws {
        guard let process = self.process.withLock({ $0 }) else { return }
        // Stop the postmaster first, so that it does not react to the exit of its children.
        process.send(SIGSTOP)
        let children = Processes.children(of: process.id)
        for child in children { _ = Glibc.kill(child, SIGKILL) }
        process.send(SIGKILL)
        _ = try await process.waitForExit()
        try await eventually("the server's processes to exit") { children.allSatisfy { !Processes.isAlive($0) } }
    }

    /// Sends SIGQUIT: immediate shutdown without a checkpoint.
    public func stop() async throws {
        guard let process = self.process.withLock({ $0 }) else { return }
        process.send(SIGQUIT)
        _ = try await process.waitForExit()
    }

    /// Sends SIGINT: fast shutdown, which closes open connections.
    public func shutDown() async throws {
        guard let process = self.process.withLock({ $0 }) else { return }
        process.send(SIGINT)
        _ = try await process.waitForExit(within: .seconds(60))
    }

    public func destroy() async {
        if self.process.withLock({ $0?.exit }) == nil { try? await self.stop() }
        await self.process.withLock { $0 }?.destroy()
        self.folder.remove()
    }

    // MARK: Use

    public func url(_ database: String, parameters: String = "") -> String {
        "postgres://\(Self.user)@127.0.0.1:\(self.port)/\(database)" + (parameters.isEmpty ? "" : "?\(parameters)")
    }

    /// Creates a database, by default an empty one.
    /// - Returns: its name.
    public func createDatabase(from template: String = "template0") async throws -> String {
        let name = "test_\(self.databases.add(1, ordering: .relaxed).newValue)"
        try await self.query("CREATE DATABASE \(name) TEMPLATE \(template)", in: "postgres")
        return name
    }

    /// Runs SQL with `psql`.
    /// - Returns: the rows, with columns separated by `|`.
    @discardableResult
    public func query(_ sql: String, in database: String) async throws -> String {
        let process = try Postgres.start(
            "psql",
            ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", sql], folder: self.folder.path)
        guard try await process.waitForExit(within: .seconds(120)) == .code(0) else {
            throw ChildProcess.Failure(description: "psql: \(process.errorOutput)")
        }
        return process.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    // MARK: Copies

    /// Creates a streaming standby of this server, with its own folder and port.
    public func makeStandby(options: [String] = []) async throws -> PostgresServer {
        let standby = try PostgresServer(options: self.options + options)
        try Postgres.changeOwner(standby.folder.path)
        try await Postgres.run(
            "pg_basebackup",
            [
                "-h", "127.0.0.1", "-p", "\(self.port)", "-U", Self.user, "-D", standby.dataFolder, "-R", "-X", "stream", "-c",
                "fast",
            ],
            folder: standby.folder.path)
        return standby
    }

    /// Promotes this standby to primary.
    public func promote() async throws {
        try await self.query("SELECT pg_promote(true, 60)", in: "postgres")
    }

    /// Copies the current data. The server must be stopped.
    /// - Returns: the path of the copy.
    public func copyData() throws -> String {
        let copy = self.folder.path + "/copy"
        try Self.cp(self.dataFolder, copy)
        return copy
    }

    /// Replaces the data with a copy. The server must be stopped.
    public func restoreData(from copy: String) throws {
        try FileManager.default.removeItem(atPath: self.dataFolder)
        try Self.cp(copy, self.dataFolder)
    }

    /// Copies with `cp -a`, which keeps owners and permissions; Foundation's copy does not.
    private static func cp(_ from: String, _ to: String) throws {
        let status = Processes.runToEnd("/bin/cp", ["-a", from, to])
        guard status == 0 else { throw ChildProcess.Failure(description: "cp of \(from) failed (\(status))") }
    }
}

/// The programs of PostgreSQL. They refuse to run as root.
public enum Postgres {
    public static let binaryFolder: String? =
        (["/usr/lib/postgresql"] + [])
        .flatMap { base in
            ((try? FileManager.default.contentsOfDirectory(atPath: base)) ?? []).sorted { (Int($0) ?? 0) > (Int($1) ?? 0) }
                .map { "\(base)/\($0)/bin" }
        }
        .first { FileManager.default.isExecutableFile(atPath: $0 + "/initdb") }

    public static func path(_ program: String) throws -> String {
        if let folder = Self.binaryFolder, FileManager.default.isExecutableFile(atPath: "\(folder)/\(program)") {
            return "\(folder)/\(program)"
        }
        for folder in ["/usr/bin", "/usr/sbin"] where FileManager.default.isExecutableFile(atPath: "\(folder)/\(program)") {
            return "\(folder)/\(program)"
        }
        throw ChildProcess.Failure(description: "\(program) was not found. Install Debian's packages postgresql and pgbouncer.")
    }

    /// Starts a program, as the user `postgres` if this process runs as root.
    public static func start(_ program: String, _ arguments: [String], folder: String) throws -> ChildProcess {
        let binary = try Self.path(program)
        guard getuid() == 0 else { return try ChildProcess(binary, arguments, environment: [:], folder: folder) }
        return try ChildProcess(
            "/usr/bin/setpriv", ["--reuid=postgres", "--regid=postgres", "--clear-groups", binary] + arguments,
            environment: ["HOME": folder], folder: folder)
    }

    public static func run(_ program: String, _ arguments: [String], folder: String) async throws {
        let process = try Self.start(program, arguments, folder: folder)
        guard try await process.waitForExit(within: .seconds(120)) == .code(0) else {
            throw ChildProcess.Failure(description: "\(program): \(process.errorOutput) \(process.output)")
        }
    }

    /// Makes the user `postgres` the owner of a file or folder, if this process runs as root.
    public static func changeOwner(_ folder: String) throws {
        guard getuid() == 0, let user = getpwnam("postgres") else { return }
        guard chown(folder, user.pointee.pw_uid, user.pointee.pw_gid) == 0 else {
            throw ChildProcess.Failure(description: "cannot change the owner of \(folder) to postgres")
        }
    }
}
