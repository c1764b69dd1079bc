import ArgumentParser
import Foundation

/// How a command ends when it does not end well. The numbers are part of the interface: scripts look at them.
enum FailureKind: Int32, Sendable {
    /// The hub said no (4xx).
    case refused = 1
    /// The command line makes no sense.
    case usage = 2
    /// The hub could not be reached, or answered 5xx to the last attempt.
    case unreachable = 3
    /// `If-Match`, `--create-only` or a fencing token did not hold (412, 409).
    case conditionFailed = 4
    /// A lock ran out or was taken away while a command ran under it.
    case lockLost = 5
    /// A program cannot be run.
    case notExecutable = 126
    /// A program is not there.
    case notFound = 127
}

/// An error that was thought of: the message says what to do.
struct CommandFailure: Error, CustomStringConvertible, Hashable {
    let kind: FailureKind
    let message: String

    init(_ kind: FailureKind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    var description: String { self.message }

    static let exitCodes = """
        EXIT CODES: 0 done; 1 the hub said no (4xx); 2 wrong usage; 3 the hub could not be reached or failed (5xx) after all \
        attempts; 4 a condition did not hold (412, 409); 130 interrupted.
        """
}

/// Another program has run in this one's place, and ended with this code.
struct ProgramEnded: Error {
    let exitCode: Int32

    init(exitCode: Int32) { self.exitCode = exitCode }

    /// It was ended by a signal: as shells say it.
    init(signal: Int32) { self.exitCode = 128 + signal }
}

/// Parses, runs and ends the process with the documented exit codes, where ArgumentParser's own `main()` would say 64 for wrong
/// usage and 1 for every error.
enum CommandRunner {
    static func run(_ root: (some AsyncParsableCommand).Type, arguments: [String]? = nil) async -> Never {
        do {
            var command = try root.parseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            exit(0)
        } catch let failure as CommandFailure {
            Terminal.say("flowhub: \(failure.message)")
            exit(failure.kind.rawValue)
        } catch let ended as ProgramEnded {
            exit(ended.exitCode)
        } catch is OutputClosed {
            // Nobody reads any more (`flowhub watch … | head`), which is the reader's right.
            exit(0)
        } catch {
            let code = root.exitCode(for: error)
            let text = root.fullMessage(for: error)
            if code.isSuccess { print(text) } else if !text.isEmpty { Terminal.say(text) }
            exit(code == .validationFailure ? FailureKind.usage.rawValue : code.rawValue)
        }
    }

    /// Ends the process with 130 on Ctrl-C. `serve` does not want this: it drains.
    /// - Parameter cleanUp: what is done before.
    /// - Returns: what undoes it.
    static func exitOnInterrupt(cleaningUp cleanUp: @escaping @Sendable () -> Void = {}) -> InterruptWatch {
        signal(SIGINT, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler {
            cleanUp()
            exit(130)
        }
        source.resume()
        return InterruptWatch(source: source)
    }
}

/// Ends the process on Ctrl-C until it is ended itself.
struct InterruptWatch {
    fileprivate let source: any DispatchSourceSignal

    func end() {
        self.source.cancel()
        signal(SIGINT, SIG_DFL)
    }
}
