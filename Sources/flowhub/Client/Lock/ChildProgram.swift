import Foundation
import Synchronization

/// A program that runs as a child of this process, with its standard input, output and error.
///
/// Where there is a terminal the child stays in this process's group, so that it may use it and gets what is typed there. Where
/// there is none it gets a group of its own, and signals go to all that it started.
final class ChildProgram: Sendable {
    enum Ending: Hashable, Sendable {
        case exited(Int32)
        case signalled(Int32)
    }

    private struct State {
        var ending: Ending?
        var waiting: [CheckedContinuation<Ending, Never>] = []
    }

    let id: pid_t
    /// Whether what is typed at a terminal reaches it without anybody's passing it on.
    let sharesTerminal: Bool
    private let state = Mutex(State())

    /// - Parameter files: what the program inherits, if it is open; see ``openFiles()``.
    /// - Throws: ``CommandFailure`` as shells have it: `notFound`, `notExecutable`.
    init(_ command: [ProcessText], environment: [ProcessText], files: Set<Int32>) throws(CommandFailure) {
        // Not everything that was opened meanwhile says so itself.
        for file in Self.openFiles().subtracting(files) { _ = fcntl(file, F_SETFD, FD_CLOEXEC) }
        self.sharesTerminal = Self.hasTerminal()
        self.id = try Self.spawn(command, environment, inOwnGroup: !self.sharesTerminal)
        let thread = Thread { [self] in self.waitForEnd() }
        thread.name = "child"
        thread.start()
    }

    /// The descriptors that this process has.
    static func openFiles() -> Set<Int32> {
        let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        // The one that the list was read with is among them, and closed by now.
        return Set((names ?? []).compactMap { Int32($0) }.filter { fcntl($0, F_GETFD) != -1 })
    }

    /// Nothing happens if it has ended.
    func send(_ signal: Int32) {
        self.state.withLock { state in
            // Until it is buried its number is nobody else's.
            if state.ending == nil { kill(self.sharesTerminal ? self.id : -self.id, signal) }
        }
    }

    /// How it ended, once it has.
    func ending() async -> Ending {
        await withCheckedContinuation { continuation in
            let ending: Ending? = self.state.withLock { state in
                if state.ending == nil { state.waiting.append(continuation) }
                return state.ending
            }
            if let ending { continuation.resume(returning: ending) }
        }
    }

    /// Asks it to end, and makes it when the time for that is over. With it goes all that is in its group.
    func end(within grace: Duration) async {
        let deadline = ContinuousClock.now + grace
        self.send(SIGTERM)
        // One that is stopped would not hear it.
        self.send(SIGCONT)
        while self.isAlive, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20), clock: .continuous)
            // A cancelled task does not sleep.
            if Task.isCancelled { break }
        }
        self.send(SIGKILL)
        // The first of a group may be gone before the others. A group that has members keeps its number.
        if !self.sharesTerminal, self.groupIsAlive { kill(-self.id, SIGKILL) }
        _ = await self.ending()
    }

    // MARK: Private

    private var isAlive: Bool {
        self.state.withLock { $0.ending == nil } || (!self.sharesTerminal && self.groupIsAlive)
    }

    private var groupIsAlive: Bool { kill(-self.id, 0) == 0 }

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

    private static func hasTerminal() -> Bool {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)
        guard terminal >= 0 else { return false }
        close(terminal)
        return true
    }

    private static func spawn(
        _ command: [ProcessText], _ environment: [ProcessText], inOwnGroup: Bool
    ) throws(CommandFailure) -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Caught signals fall back by themselves. SIGPIPE is ignored here, which a child would inherit.
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
        guard let program = arguments[0] else { throw CommandFailure(.usage, "There is no program.") }
        let problem = posix_spawnp(&id, program, nil, &attributes, &arguments, &variables)
        guard problem == 0 else {
            let reason = "\(Terminal.harmless(command[0].description)) cannot be run: \(String(cString: strerror(problem)))."
            throw CommandFailure(problem == ENOENT ? .notFound : .notExecutable, reason)
        }
        return id
    }
}
