import Synchronization

/// Number of commands that both connections have sent to Redis, by command. Safe to use from any thread.
final class CommandCounter: Sendable {
    private let counts = Mutex<[[UInt8]: Int]>([:])

    /// Counts commands that are sent.
    func add(_ commands: [RESPCommand]) {
        self.counts.withLock { counts in
            for command in commands { counts[command.arguments[0], default: 0] += 1 }
        }
    }

    /// The counts so far, sorted by command. The hub sends a fixed set of commands.
    var all: [(command: String, count: Int)] {
        self.counts.withLock { $0 }.map { (command: String(decoding: $0.key, as: UTF8.self), count: $0.value) }.sorted {
            $0.command < $1.command
        }
    }
}
