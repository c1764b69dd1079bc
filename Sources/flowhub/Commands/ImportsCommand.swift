import ArgumentParser

/// `flowhub imports`
struct ImportsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "imports",
        abstract: "Maintain stored imports: move, verify, export and clean up their data, and set lifecycle rules.",
        discussion: """
            For operators. These commands open the stores directly, with the environment of the hub (DATABASE_URL, R2_…, \
            FLOWHUB_DATA); the hub may run meanwhile. The commands for users are under flowhub import.

            EXAMPLES
              flowhub imports move --to r2 --dry-run
              flowhub imports verify
              flowhub imports encrypt --dry-run
              flowhub imports sweep --older-than 24h
              flowhub imports export ./imports --data ./flowhub-data
              flowhub imports lifecycle --infrequent-after 30

            EXIT CODES: 0 success; 1 at least one import is damaged or cannot be moved, and is named; 2 invalid usage; 3 a \
            store failed; 4 another process is moving imports; 130 interrupted.
            """,
        subcommands: [
            ImportsMoveCommand.self, ImportsVerifyCommand.self, ImportsSweepCommand.self, ImportsExportCommand.self,
            ImportsImportCommand.self, ImportsLifecycleCommand.self, ImportsEncryptCommand.self,
        ])
}
