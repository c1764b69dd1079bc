import ArgumentParser

/// `flowhub imports`
struct ImportsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "imports",
        abstract: "Look after the imports of a store: move, verify, sweep, lifecycle.",
        discussion: """
            For operators. These commands open the stores themselves, with the environment of the hub (DATABASE_URL, R2_…, \
            FLOWHUB_DATA), and may run beside it. For what a user does with imports see flowhub import.

            EXAMPLES
              flowhub imports move --to r2 --dry-run
              flowhub imports verify
              flowhub imports sweep --older-than 24h
              flowhub imports lifecycle --infrequent-after 30

            EXIT CODES: 0 done; 1 something is wrong with an import, and is named; 2 wrong usage; 3 a store failed; 4 another process \
            moves imports; 130 interrupted.
            """,
        subcommands: [
            ImportsMoveCommand.self, ImportsVerifyCommand.self, ImportsSweepCommand.self, ImportsLifecycleCommand.self,
        ])
}
