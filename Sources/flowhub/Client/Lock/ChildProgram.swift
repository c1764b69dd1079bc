import Foundation
import Synchronization

/// A program that runs as a child of this process, with its standard input, output and error.
///
/// If this process has a terminal, the child stays in this process's group, so that the child can use the terminal and gets the
/// terminal's signals. Without a terminal the child gets its own process group, and ``send(_:)`` signals the whole group.
final class ChildProgram: Sendable {
    /// How the program ended.
    enum Ending: Hashable, Sendable {
        /// The program exited with this code.
        case exited(Int32)
        /// This signal ended the program.
        case signalled(Int32)
    }

    private struct State {
        var ending: Ending?
        var waiting: [CheckedContinuation<Ending, Never>] = []
    }

    let id: pid_t
    /// Whether the child is in this process's group, and the terminal itself sends signals (Ctrl-C) to it.
    let sharesTerminal: Bool
    private let state = Mutex(State())

    /// Starts the program.
    /// - Parameter files: the descriptors that the program inherits, from ``openFiles()``.
    /// - Throws: ``CommandFailure`` of kind `notFound` or `notExecutable`.
    init(_ command: [ProcessText], environment: [ProcessText], files: Set<Int32>) throws(CommandFailure) {
        // Descriptors that libraries of this process opened without close-on-exec must not reach the program.
        for file in Self.openFiles().subtracting(files) { _ = fcntl(file, F_SETFD, FD_CLOEXEC) }
        self.sharesTerminal = Self.hasTerminal()
        self.id = try Self.spawn(command, environment, inOwnGroup: !self.sharesTerminal)
        let thread = Thread { [self] in self.waitForEnd() }
        thread.name = "child"
        thread.start()
    }

    /// The numbers of the open file descriptors of this process; empty if they cannot be listed.
    static func openFiles() -> Set<Int32> {
        let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        // The descriptor with which the directory was read is in the list and already closed.
        return Set((names ?? []).compactMap { Int32($0) }.filter { fcntl($0, F_GETFD) != -1 })
    }

    /// Sends a signal to the program's process group; only to the program if it shares the terminal, and so the group, of
    /// this process. Does nothing if the program has ended.
    func send(_ signal: Int32) {
        self.state.withLock { state in
            // Before the child is reaped its PID is not reused, so the signal cannot reach another process.
            if state.ending == nil { kill(self.sharesTerminal ? self.id : -self.id, signal) }
        }
    }

    /// Waits until the program has ended.
    /// - Returns: its exit code, or the signal that ended it.
    func ending() async -> Ending {
        await withCheckedContinuation { continuation in
            let ending: Ending? = self.state.withLock { state in
                if state.ending == nil { state.waiting.append(continuation) }
                return state.ending
            }
            if let ending { continuation.resume(returning: ending) }
        }
    }

    /// Ends the program and, without a terminal, its whole process group: sends SIGTERM and, if that does not end them within
    /// `grace`, SIGKILL.
    func end(within grace: Duration) async {
        let deadline = ContinuousClock.now + grace
        self.send(SIGTERM)
        // A stopped process handles SIGTERM only after SIGCONT.
        self.send(SIGCONT)
        while self.isAlive, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20), clock: .continuous)
            // In a cancelled task `sleep` returns immediately; without this the loop would spin.
            if Task.isCancelled { break }
        }
        self.send(SIGKILL)
        // The program may have ended before other processes of its group, to which `send` then sends nothing. The group id is
        // not reused while the group has members.
        if !self.sharesTerminal, self.groupIsAlive { kill(-self.id, SIGKILL) }
        _ = await self.ending()
    }

    // MARK: Private

    private var isAlive: Bool {
        self.state.withLock { $0.ending == nil } || (!self.sharesTerminal && self.groupIsAlive)
    }

    private var groupIsAlive: Bool { kill(-self.id, 0) == 0 }

    /// Waits until the child has ended, reaps it, and resumes the callers of ``ending()``. Blocks its thread.
    private func waitForEnd() {
        var info = siginfo_t()
        while waitid(P_PID, id_t(self.id), &info, WEXITED | WNOWAIT) == -1, errno == EINTR {}
        let (ending, waiting) = self.state.withLock { state in
            var status: Int32 = 0
            while waitpid(self.id, &status, 0) == -1, errno == EINTR {}
            let signal = status & 0x7F
            let ending: Ending = signal == 0 ? .exited((status >> 8) & 0xFF) : .signalled(signal)
            state.ending = ending
            defer { state.waiting = [] }
            return (ending, state.waiting)
        }
        for continuation in waiting { continuation.resume(returning: ending) }
    }

    /// Whether this process has a controlling terminal.
    private static func hasTerminal() -> Bool {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)
        guard terminal >= 0 else { return false }
        close(terminal)
        return true
    }

    /// Starts the program, which is searched in `PATH`, with default signal handling.
    /// - Returns: its process id.
    /// - Throws: ``CommandFailure`` of kind `notFound` or `notExecutable`.
    private static func spawn(
        _ command: [ProcessText], _ environment: [ProcessText], inOwnGroup: Bool
    ) throws(CommandFailure) -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // `exec` resets caught signals to their defaults, but not ignored ones. This process ignores SIGPIPE; without this the
        // program would ignore it too.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        var flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        if inOwnGroup { flags |= POSIX_SPAWN_SETPGROUP }
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var arguments = command.map { $0.copy() } + [nil]
        var variables = environment.map { $0.copy() } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var id = pid_t()
        guard let program = arguments[0] else { throw CommandFailure(.usage, "The program to run is missing.") }
        let problem = posix_spawnp(&id, program, nil, &attributes, &arguments, &variables)
        guard problem == 0 else {
            let reason = "Cannot run \(Terminal.sanitized(command[0].description)): \(String(cString: strerror(problem)))."
            throw CommandFailure(problem == ENOENT ? .notFound : .notExecutable, reason)
        }
        return id
    }
}
