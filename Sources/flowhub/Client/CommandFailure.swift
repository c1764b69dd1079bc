import ArgumentParser
import Foundation

/// The kinds of failure of a command, with their exit codes. The codes are part of the interface: scripts test them.
enum FailureKind: Int32, Sendable {
    /// The hub rejected the request (4xx), or a command on a store failed.
    case rejected = 1
    /// The command line or a setting is invalid.
    case usage = 2
    /// At the last attempt the hub was unreachable or answered 5xx.
    case unreachable = 3
    /// A precondition failed (412), or the request conflicts with another one (409).
    case conditionFailed = 4
    /// The lock of `flowhub lock` expired, or its renewal was rejected, while the program ran.
    case lockLost = 5
    /// The program of `flowhub lock` exists but cannot be run. Shells use the same code.
    case notExecutable = 126
    /// The program of `flowhub lock` does not exist. Shells use the same code.
    case notFound = 127
}

/// An expected error of a command, with a message for the terminal.
struct CommandFailure: Error, CustomStringConvertible, Hashable {
    let kind: FailureKind
    let message: String

    init(_ kind: FailureKind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    var description: String { self.message }

    static let exitCodes = """
        EXIT CODES: 0 success; 1 rejected by the hub (4xx); 2 invalid usage; 3 hub unreachable or 5xx after all attempts; 4 \
        conflict (409) or failed precondition (412); 130 interrupted.
        """
}

/// Ends the process with an exit code and without a message: that of the program that `flowhub lock` ran, or of a failure
/// that `flowhub serve` has logged.
struct ProgramEnded: Error {
    let exitCode: Int32

    init(exitCode: Int32) { self.exitCode = exitCode }

    /// The exit code if a signal ended the program: 128 + the signal's number, as in shells.
    init(signal: Int32) { self.exitCode = 128 + signal }
}

/// Runs commands with the documented exit codes. ArgumentParser's own `main()` would exit with 64 for invalid usage and with 1
/// for every other error.
enum CommandRunner {
    /// Parses and runs a command, prints its error, and ends the process with the exit code of the result.
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
            Terminal.note("flowhub: \(failure.message)")
            exit(failure.kind.rawValue)
        } catch let ended as ProgramEnded {
            exit(ended.exitCode)
        } catch is OutputClosed {
            // The program that reads this output has closed the pipe (`flowhub watch … | head`). That is no error.
            exit(0)
        } catch {
            let code = root.exitCode(for: error)
            let text = root.fullMessage(for: error)
            if code.isSuccess { print(text) } else if !text.isEmpty { Terminal.note(text) }
            exit(code == .validationFailure ? FailureKind.usage.rawValue : code.rawValue)
        }
    }

    /// Makes SIGINT (Ctrl-C) end the process with exit code 130. Not used by `serve`, which drains instead.
    /// - Parameter cleanUp: runs on a background queue before the process exits.
    /// - Returns: a handle that restores the default behavior.
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

/// The SIGINT handler of ``CommandRunner/exitOnInterrupt(cleaningUp:)``, active until ``end()``.
struct InterruptWatch {
    fileprivate let source: any DispatchSourceSignal

    /// Restores the default behavior: SIGINT ends the process.
    func end() {
        self.source.cancel()
        signal(SIGINT, SIG_DFL)
    }
}
