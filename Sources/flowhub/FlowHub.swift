import ArgumentParser

/// The root command, `flowhub`.
@main
struct FlowHub: AsyncParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "flowhub",
        abstract: "Live, resumable event streams for long-running flows.",
        discussion: """
            EXAMPLES
              flowhub serve                                            run the hub on this machine
              flowhub watch import-7                                   follow a flow in the terminal
              flowhub state patch import-7 '{"status":"running"}'      change its state
              flowhub publish import-7 progress '{"done":40}' --transient
              flowhub import put hosts.csv --flow import-7             upload a data set and report progress to the flow
            """,
        version: Self.version,
        subcommands: [
            ServeCommand.self, WatchCommand.self, PublishCommand.self, StateCommand.self, FlowsCommand.self,
            HistoryCommand.self, ConnectionsCommand.self, DisconnectCommand.self, ImportCommand.self, ImportsCommand.self,
            LockCommand.self, TokenCommand.self, MigrateCommand.self, BackupCommand.self, RestoreCommand.self, EpochCommand.self,
            DoctorCommand.self, SettingsCommand.self, BenchCommand.self,
        ])

    /// Runs the command line, and ends the process with the exit code of the command.
    static func main() async {
        await CommandRunner.run(Self.self)
    }
}
