import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// A hub under test: `flowhub serve` with its own data folder and port, which stay the same over restarts.
public final class HubProcess: Sendable {
    private struct State: Sendable {
        var process: ChildProcess?
        var port = 0
        var environment: [String: String]
        /// The limit of open files; `nil`: that of the tests.
        var openFiles: Int?
    }

    private let state: AsyncValue<State>
    private let binary: String
    public let folder: TemporaryFolder

    private init(environment: [String: String], openFiles: Int?) throws {
        self.binary = try HubBinary.path()
        self.folder = try TemporaryFolder()
        self.state = AsyncValue(State(environment: environment, openFiles: openFiles))
    }

    /// Runs a hub for the duration of the body, then kills it and removes its folder, even if the body throws.
    public static func running<Result>(
        _ environment: [String: String] = [:], openFiles: Int? = nil, _ body: (HubProcess) async throws -> Result
    ) async throws -> Result {
        let hub = try HubProcess(environment: environment, openFiles: openFiles)
        do {
            try await hub.start()
            let result = try await body(hub)
            await hub.destroy()
            return result
        } catch {
            let ending = hub.ending
            await hub.destroy()
            guard let ending else { throw error }
            throw ChildProcess.Failure(description: "\(error); \(ending)")
        }
    }

    /// Description of an unexpected exit; `nil` if the hub runs, or ended with code 0 or by SIGKILL.
    private var ending: String? {
        guard let process = self.process, let exit = process.exit, exit != .code(0), exit != .signal(SIGKILL) else { return nil }
        return "the hub exited unexpectedly (\(exit)); end of its log: \(process.errorOutput.suffix(16_000))"
    }

    public var port: Int { self.state.read { $0.port } }
    public var dataFolder: String { self.folder.path + "/data" }
    public var log: String { self.process?.errorOutput ?? "" }
    public var processMetrics: ProcessMetrics? { self.process.flatMap { ProcessMetrics(of: $0.id) } }
    public var isRunning: Bool { self.process.map { $0.exit == nil } ?? false }
    public var api: HubAPI { HubAPI(port: self.port) }

    private var process: ChildProcess? { self.state.read { $0.process } }

    // MARK: Lifecycle

    /// Starts the hub, on its previous port if it had one, and returns once it listens.
    public func start(adding environment: [String: String] = [:]) async throws {
        self.state.change { $0.environment.merge(environment) { $1 } }
        guard self.port == 0 else { return try await self.launch() }
        while true {
            // Below the range of ephemeral client ports (net.ipv4.ip_local_port_range), so that the port is still free when
            // the hub restarts.
            self.state.change { $0.port = Int.random(in: 15_000...31_999) }
            do {
                return try await self.launch()
            } catch let failure as ChildProcess.Failure where failure.description.contains("is in use. Choose") {
                continue
            }
        }
    }

    private func launch() async throws {
        let state = self.state.value
        // A hub that crashes prints a backtrace to its error output.
        let backtrace = "enable=yes,interactive=no,color=no,threads=crashed,images=none,registers=none,limit=40,cache=no"
        var all = ["SWIFT_BACKTRACE": backtrace, "FLOWHUB_DATA": self.dataFolder]
        all.merge(state.environment) { $1 }
        all["PORT"] = String(state.port)
        var command = [self.binary, "serve"]
        if let files = state.openFiles { command = ["/bin/sh", "-c", "ulimit -n \(files) && exec \"$0\" \"$@\""] + command }
        if let shift = all["FAKETIME"] { command = try Self.shiftingClock(by: shift, command, &all) }
        let process = try ChildProcess(
            command[0], Array(command.dropFirst()), environment: all, folder: self.folder.path)
        self.state.change { $0.process = process }
        try await eventually("the hub's log line Listening", within: .seconds(30), every: .milliseconds(5)) {
            if let exit = process.exit {
                throw ChildProcess.Failure(description: "the hub exited at startup (\(exit)): \(process.errorOutput)")
            }
            return Self.port(in: process.errorOutput) == state.port
        }
    }

    /// Sets the soft limit of open files of the running hub.
    public func limitOpenFiles(to files: Int) async throws {
        let arguments = ["--pid", String(self.process?.id ?? 0), "--nofile=\(files):"]
        let tool = try ChildProcess("/usr/bin/prlimit", arguments, environment: [:], folder: self.folder.path)
        let exit = try await tool.waitForExit()
        guard exit == .code(0) else { throw ChildProcess.Failure(description: "prlimit: \(exit), \(tool.errorOutput)") }
    }

    /// The command under a wall clock that is shifted by a text such as `+30d`, by libfaketime (`FAKETIME`).
    private static func shiftingClock(
        by shift: String, _ command: [String], _ environment: inout [String: String]
    ) throws -> [String] {
        let root = "/usr/lib"
        let library = try FileManager.default.contentsOfDirectory(atPath: root)
            .map { "\(root)/\($0)/faketime/libfaketime.so.1" }.first { FileManager.default.fileExists(atPath: $0) }
        guard let library else { throw ChildProcess.Failure(description: "libfaketime is missing; run .ci/install") }
        environment["LD_PRELOAD"] = library
        environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        // libfaketime adds a variable to the environment of the first process, which moves it in memory. A Swift process would
        // then not find its arguments, so the first process is a shell that the command replaces.
        return ["/bin/sh", "-c", #"exec "$0" "$@""#] + command
    }

    /// Sends SIGTERM without waiting.
    public func requestTermination() { self.process?.send(SIGTERM) }

    /// Sends SIGTERM and waits for the exit.
    @discardableResult
    public func terminate(within timeout: Duration = .seconds(60)) async throws -> ChildProcess.Exit {
        self.requestTermination()
        return try await self.waitForExit(within: timeout)
    }

    public func waitForExit(within timeout: Duration = .seconds(60)) async throws -> ChildProcess.Exit {
        guard let process = self.process else { throw ChildProcess.Failure(description: "the hub was never started") }
        return try await process.waitForExit(within: timeout)
    }

    /// Sends SIGKILL and waits for the exit.
    public func kill() async throws {
        self.process?.send(SIGKILL)
        _ = try await self.waitForExit()
    }

    /// Sends a signal without waiting.
    public func send(_ signal: Int32) { self.process?.send(signal) }

    /// Sets the soft limit of a resource of the running hub, such as `nofile` or `fsize`, in the units of prlimit(1).
    public func setLimit(of resource: String, to soft: String) throws {
        let id = self.process?.id ?? 0
        guard Processes.runToEnd("/usr/bin/prlimit", ["--pid", "\(id)", "--\(resource)=\(soft):"]) == 0 else {
            throw ChildProcess.Failure(description: "cannot set the limit \(resource) of process \(id)")
        }
    }

    public func pause() { self.process?.send(SIGSTOP) }
    public func resume() { self.process?.send(SIGCONT) }

    private func destroy() async {
        await self.process?.destroy()
        self.folder.remove()
    }

    /// Runs another command of the binary on this hub's data folder and waits for its exit.
    public func command(
        _ arguments: [String], adding more: [String: String] = [:]
    ) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
        let process = try self.startCommand(arguments, adding: more)
        do {
            let exit = try await process.waitForExit(within: .seconds(60))
            return (exit, process.output, process.errorOutput)
        } catch {
            await process.destroy()
            throw error
        }
    }

    /// Starts a command on this hub's data folder. The caller must wait for its exit or destroy it.
    public func startCommand(_ arguments: [String], adding more: [String: String] = [:]) throws -> ChildProcess {
        var environment = self.state.read { $0.environment }
        environment["FLOWHUB_DATA"] = self.dataFolder
        environment.merge(more) { $1 }
        return try ChildProcess(self.binary, arguments, environment: environment, folder: self.folder.path)
    }

    /// Parses the port from the log line `… Listening instance=… url=http://127.0.0.1:8080/`, also with `[::]`.
    private static func port(in log: String) -> Int? {
        guard let line = log.split(separator: "\n").last(where: { $0.contains(" Listening ") }),
            let start = line.range(of: "url=\"http://") ?? line.range(of: "url=http://")
        else { return nil }
        let authority = line[start.upperBound...].prefix { $0 != "/" }
        return authority.lastIndex(of: ":").flatMap { Int(authority[authority.index(after: $0)...]) }
    }
}
