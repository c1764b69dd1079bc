import Dispatch
import Foundation
import Logging
import Synchronization

/// The signals of `flowhub serve`, from before the store is opened until the process ends.
///
/// SIGTERM and SIGINT end the hub: while it starts, at once with exit code 0, since no client is connected; later by a drain,
/// and at the second signal at once. SIGHUP reloads files. SIGUSR1 and SIGUSR2, whose default is to end the process, are
/// ignored. So is SIGXFSZ: a write beyond the limit of file sizes (`ulimit -f`) then fails as on a full disk.
struct ServeSignals {
    private enum Phase: Sendable {
        case starting
        /// The hub runs; the closure starts the drain.
        case running(@Sendable () -> Void)
        case draining
    }

    private struct State: Sendable {
        var phase = Phase.starting
        var reload: (@Sendable () -> Void)?
    }

    /// A class, because the handlers of the signals share it.
    private final class Handlers: Sendable {
        private let state = Mutex(State())
        private let logger: Logger
        private let flushLog: @Sendable () -> Void

        init(logger: Logger, flushLog: @escaping @Sendable () -> Void) {
            self.logger = logger
            self.flushLog = flushLog
        }

        func onReload(_ reload: @escaping @Sendable () -> Void) { self.state.withLock { $0.reload = reload } }

        func running(_ drain: @escaping @Sendable () -> Void) { self.state.withLock { $0.phase = .running(drain) } }

        func end(_ signal: Int32) {
            let phase = self.state.withLock { state in
                defer { if case .running = state.phase { state.phase = .draining } }
                return state.phase
            }
            switch phase {
            case .starting:
                self.logger.notice("Hub stopped while it was starting")
                self.flushLog()
                // Not `exit`: an attempt to connect to the database may be in progress on another thread, and the exit
                // handlers of its libraries would free what it uses.
                _exit(0)
            case .running(let drain): drain()
            case .draining:
                self.flushLog()
                _exit(128 + signal)
            }
        }

        func reload() {
            guard let reload = self.state.withLock({ $0.reload }) else { return }
            reload()
        }
    }

    private let handlers: Handlers
    /// The handlers are called as long as these exist.
    private let sources: [any DispatchSourceSignal]

    /// Installs the handlers.
    /// - Parameter flushLog: writes what was logged, before the process ends; must not block for long.
    init(logger: Logger, flushLog: @escaping @Sendable () -> Void) {
        let handlers = Handlers(logger: logger, flushLog: flushLog)
        self.handlers = handlers
        for ignored in [SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ] { signal(ignored, SIG_IGN) }
        let queue = DispatchQueue(label: "flowhub.signals")
        self.sources = [SIGTERM, SIGINT, SIGHUP].map { number in
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { if number == SIGHUP { handlers.reload() } else { handlers.end(number) } }
            source.resume()
            return source
        }
    }

    /// Sets what SIGHUP does.
    func onReload(_ reload: @escaping @Sendable () -> Void) { self.handlers.onReload(reload) }

    /// Reports that the hub runs.
    /// - Parameter drain: called at the first SIGTERM or SIGINT from now on; must not block.
    func running(drain: @escaping @Sendable () -> Void) { self.handlers.running(drain) }
}
