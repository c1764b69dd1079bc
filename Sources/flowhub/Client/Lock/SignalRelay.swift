import Foundation
import Synchronization

/// Where the handler writes to. -1 as long as there is no relay.
private let relayPipe = Atomic<Int32>(-1)

/// Catches the signals that end a process, and passes them on to a program that runs in its place.
///
/// Those that were ignored when this process began (`nohup`, jobs in the background of a script) stay so.
final class SignalRelay: Sendable {
    private static let caught = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]

    private struct State {
        var received: Int32?
        var onFirst: (@Sendable () -> Void)?
        var program: ChildProgram?
    }

    private let input: Int32
    private let state = Mutex(State())

    /// Once in a process.
    init() throws(CommandFailure) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw CommandFailure(.refused, "Signals cannot be caught: \(String(cString: strerror(errno))).")
        }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        // The handler must not wait.
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        relayPipe.store(ends[1], ordering: .sequentiallyConsistent)
        self.input = ends[0]
        // Runs for as long as the process does, and keeps this object.
        let thread = Thread { [self] in self.readAll() }
        thread.name = "signals"
        thread.start()
        for signal in Self.caught { Self.catchSignal(signal) }
    }

    /// The first signal that came before there was a program.
    var received: Int32? { self.state.withLock { $0.received } }

    /// What the first signal does. A second one ends the process at once.
    func beforeRelaying(_ action: @escaping @Sendable () -> Void) {
        let isLate = self.state.withLock { state in
            state.onFirst = action
            return state.received != nil
        }
        if isLate { action() }
    }

    /// From now on the signals are the program's, and so is one that has come already.
    func relay(to program: ChildProgram) {
        let signal = self.state.withLock { state in
            state.program = program
            return state.received
        }
        if let signal { program.send(signal) }
    }

    /// The program has ended: the next signal ends this process at once.
    func stop() {
        self.state.withLock { state in
            state.program = nil
            state.received = state.received ?? 0
        }
    }

    // MARK: Private

    private func readAll() {
        var message: [UInt8] = [0, 0]
        while true {
            switch read(self.input, &message, 2) {
            case 2: self.take(Int32(message[0]), isTyped: message[1] == 1)
            case -1 where errno == EINTR: continue
            default: return
            }
        }
    }

    private func take(_ signal: Int32, isTyped: Bool) {
        enum Action { case pass(ChildProgram), begin((@Sendable () -> Void)?), leave }
        let action: Action = self.state.withLock { state in
            if let program = state.program { return .pass(program) }
            if state.received != nil { return .leave }
            state.received = signal
            return .begin(state.onFirst)
        }
        switch action {
        case .pass(let program):
            // What is typed at the terminal its driver has sent to the program, too.
            if !(isTyped && program.sharesTerminal) { program.send(signal) }
        case .begin(let action): action?()
        case .leave: exit(128 + signal)
        }
    }

    private static func catchSignal(_ signal: Int32) {
        var before = sigaction()
        sigaction(signal, nil, &before)
        // Compared as numbers: functions are not comparable.
        let isIgnored = unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self) == 1
        if isIgnored { return }
        var action = sigaction()
        action.sa_flags = SA_SIGINFO | SA_RESTART
        action.__sigaction_handler.sa_sigaction = { signal, info, _ in
            // Nothing here may allocate or wait: the signal may have struck anywhere.
            let before = errno
            var message = (UInt8(truncatingIfNeeded: signal), UInt8(info?.pointee.si_code == 0x80 ? 1 : 0))
            _ = write(relayPipe.load(ordering: .sequentiallyConsistent), &message, 2)
            errno = before
        }
        sigaction(signal, &action, nil)
    }
}
