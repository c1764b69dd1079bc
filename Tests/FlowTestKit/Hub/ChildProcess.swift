import Foundation
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// A child process of a test. Its output goes to files, so that no task has to drain a pipe.
///
/// Foundation's `Process` is not used: its children inherit the descriptors of other children that are started at the
/// same time, so that their exits are noticed late.
public final class ChildProcess: Sendable {
    public struct Failure: Error, CustomStringConvertible {
        public let description: String

        public init(description: String) { self.description = description }
    }

    public enum Exit: Hashable, Sendable {
        case code(Int32)
        case signal(Int32)
    }

    public let id: Int32
    private let outputFile: String
    private let errorFile: String
    private let reaped = Mutex<Exit?>(nil)

    private typealias CloseFrom = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32
    /// Available in glibc since 2.34, but not imported into Swift.
    private static let closeFrom = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np").map {
        unsafeBitCast($0, to: CloseFrom.self)
    }

    /// - Parameters:
    ///   - environment: the child's environment. It inherits only `PATH`, `LD_LIBRARY_PATH`, `HOME` and `TMPDIR`.
    ///   - folder: folder for the files with its output.
    public init(_ binary: String, _ arguments: [String], environment: [String: String], folder: String) throws {
        let name = UUID().uuidString
        self.outputFile = "\(folder)/\(name).out"
        self.errorFile = "\(folder)/\(name).err"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let flags = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, self.outputFile, flags, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, self.errorFile, flags, 0o600)
        // If the child inherited a connection of the test, the connection would stay open after the test closes it.
        guard Self.closeFrom?(&actions, 3) == 0 else { throw Failure(description: "this C library cannot close descriptors") }

        // Swift's threads block signals. A child that inherits this mask and does not reset it would never receive SIGTERM.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        let inherited = ["PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR"]
        var all = ProcessInfo.processInfo.environment.filter { inherited.contains($0.key) }
        all.merge(environment) { $1 }
        var argumentList = ([binary] + arguments).map { strdup($0) } + [nil]
        var environmentList = all.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argumentList + environmentList { free(text) } }
        var id = pid_t()
        let problem = posix_spawn(&id, binary, &actions, &attributes, &argumentList, &environmentList)
        guard problem == 0 else { throw Failure(description: "cannot start \(binary): \(String(cString: strerror(problem)))") }
        self.id = id
    }

    public var output: String { Self.text(of: self.outputFile) }
    public var errorOutput: String { Self.text(of: self.errorFile) }

    /// How the process ended; `nil` while it runs.
    public var exit: Exit? {
        self.reaped.withLock { reaped in
            if let reaped { return reaped }
            var status: Int32 = 0
            guard waitpid(self.id, &status, WNOHANG) == self.id else { return nil }
            let signal = status & 0x7f
            reaped = signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal)
            return reaped
        }
    }

    /// Sends a signal, unless the process was reaped: its id may then belong to another process.
    public func send(_ signal: Int32) {
        self.reaped.withLock { reaped in
            if reaped == nil { _ = Glibc.kill(self.id, signal) }
        }
    }

    public func waitForExit(within timeout: Duration = .seconds(20)) async throws -> Exit {
        try await eventually("the end of process \(self.id)", within: timeout) { self.exit != nil }
        return self.exit ?? .code(-1)
    }

    /// Sends SIGKILL and waits for the exit.
    public func destroy() async {
        self.send(SIGKILL)
        _ = try? await self.waitForExit()
    }

    private static func text(of file: String) -> String {
        FileManager.default.contents(atPath: file).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
