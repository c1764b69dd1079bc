import Foundation
import Synchronization

/// The write end of the pipe on which signal handlers report to the relay's thread; -1 before there is a relay. Global because
/// signal handlers cannot capture values.
private let relayPipe = Atomic<Int32>(-1)

/// Catches SIGINT, SIGTERM, SIGHUP and SIGQUIT and forwards them to a child program.
///
/// Signals that were ignored when this process started (`nohup`, background jobs of scripts) stay ignored.
final class SignalRelay: Sendable {
    private static let caught = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]

    private struct State {
        var received: Int32?
        var onFirst: (@Sendable () -> Void)?
        var program: ChildProgram?
    }

    private let input: Int32
    private let state = Mutex(State())

    /// Installs the signal handlers. Create at most one relay per process.
    /// - Throws: ``CommandFailure`` if the pipe cannot be created.
    init() throws(CommandFailure) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw CommandFailure(.rejected, "Cannot create the pipe to forward signals: \(String(cString: strerror(errno))).")
        }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        // The signal handler, which writes to the pipe, must not block.
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        relayPipe.store(ends[1], ordering: .sequentiallyConsistent)
        self.input = ends[0]
        // The thread runs until the process ends, and retains this object.
        let thread = Thread { [self] in self.readAll() }
        thread.name = "signals"
        thread.start()
        for signal in Self.caught { Self.catchSignal(signal) }
    }

    /// The first signal that was received while no program was running; 0 after ``stop()`` if there was none.
    var received: Int32? { self.state.withLock { $0.received } }

    /// Sets the action to run at the first signal that is received before ``relay(to:)``. If a signal was received already,
    /// runs the action now. A second signal ends this process immediately.
    func beforeRelaying(_ action: @escaping @Sendable () -> Void) {
        let isLate = self.state.withLock { state in
            state.onFirst = action
            return state.received != nil
        }
        if isLate { action() }
    }

    /// Forwards all signals to the program from now on. Also forwards the first signal that was received before, if any.
    func relay(to program: ChildProgram) {
        let signal = self.state.withLock { state in
            state.program = program
            return state.received
        }
        if let signal { program.send(signal) }
    }

    /// Stops forwarding, after the program has ended. The next signal ends this process immediately.
    func stop() {
        self.state.withLock { state in
            state.program = nil
            state.received = state.received ?? 0
        }
    }

    // MARK: Private

    /// Reads the reports of the signal handlers from the pipe. Runs on the relay's thread until the process ends.
    private func readAll() {
        var message: [UInt8] = [0, 0]
        while true {
            switch read(self.input, &message, 2) {
            case 2: self.handle(Int32(message[0]), isTyped: message[1] == 1)
            case -1 where errno == EINTR: continue
            default: return
            }
        }
    }

    /// Forwards a signal to the program. Without a program, runs the action for the first signal and ends the process at
    /// the second. `isTyped`: the terminal sent the signal (Ctrl-C).
    private func handle(_ signal: Int32, isTyped: Bool) {
        enum Action { case forward(ChildProgram), beforeRelaying((@Sendable () -> Void)?), exit }
        let action: Action = self.state.withLock { state in
            if let program = state.program { return .forward(program) }
            if state.received != nil { return .exit }
            state.received = signal
            return .beforeRelaying(state.onFirst)
        }
        switch action {
        case .forward(let program):
            // The terminal driver has already sent a typed signal (Ctrl-C) to the program.
            if !(isTyped && program.sharesTerminal) { program.send(signal) }
        case .beforeRelaying(let action): action?()
        case .exit: exit(128 + signal)
        }
    }

    /// Installs the signal handler, unless this process was started with the signal ignored.
    private static func catchSignal(_ signal: Int32) {
        var before = sigaction()
        sigaction(signal, nil, &before)
        // `SIG_IGN` is 1. Compared as numbers, because function pointers are not comparable in Swift.
        let isIgnored = unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self) == 1
        if isIgnored { return }
        var action = sigaction()
        action.sa_flags = SA_SIGINFO | SA_RESTART
        action.__sigaction_handler.sa_sigaction = { signal, info, _ in
            // Must be async-signal-safe: no allocation, no locks, no blocking.
            let before = errno
            // `SI_KERNEL` (0x80): the terminal driver sent the signal.
            var message = (UInt8(truncatingIfNeeded: signal), UInt8(info?.pointee.si_code == 0x80 ? 1 : 0))
            _ = write(relayPipe.load(ordering: .sequentiallyConsistent), &message, 2)
            errno = before
        }
        sigaction(signal, &action, nil)
    }
}
