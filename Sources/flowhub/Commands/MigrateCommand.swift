import ArgumentParser
import FlowPostgres
import Foundation
import Logging

/// `flowhub migrate`
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Bring the schema of the Postgres database up to date.",
        discussion: """
            Works on the database that DATABASE_URL names. `flowhub serve` does the same before it listens, unless \
            FLOWHUB_MIGRATE=false. Any number may run at once; one does the work. The embedded store needs no such command.

            EXAMPLES
              DATABASE_URL=postgres://hub@db/hub flowhub migrate --status
              DATABASE_URL=postgres://hub@db/hub flowhub migrate

            EXIT CODES: 0 done, or with --status nothing to do; 1 failed, or with --status something to do; 2 wrong usage.
            """)

    @Flag(help: "List what is applied and what is not, and change nothing.")
    var status = false

    @Flag(help: "Print the SQL that would be run, and change nothing.")
    var dryRun = false

    func run() async throws {
        let configuration = try HubConfiguration.fromEnvironment()
        guard let settings = configuration.postgres else {
            throw CommandFailure(.usage, "DATABASE_URL is not set. The embedded store brings its schema up to date by itself.")
        }
        let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .notice, format: .text) }
        let runner = MigrationRunner(settings, logger: logger)
        do {
            if self.status || self.dryRun {
                try await self.show(runner)
            } else {
                let applied = try await runner.run()
                print(
                    applied.isEmpty ? "Nothing to do: the schema is up to date." : "Applied: \(applied.joined(separator: ", "))")
            }
        } catch let error as PostgresError {
            throw CommandFailure(.refused, "The database could not be migrated: \(error.explanation)")
        }
    }

    private func show(_ runner: MigrationRunner) async throws {
        let all = try await runner.status()
        if self.status {
            for migration in all { print("\(migration.isApplied ? "applied" : "missing")  \(migration.name)") }
        }
        let missing = Set(all.filter { !$0.isApplied }.map(\.name))
        if self.dryRun {
            for migration in Migration.all where missing.contains(migration.name) {
                print("-- \(migration.name)\n\(migration.sql)")
            }
            if missing.isEmpty { print("-- Nothing to do.") }
        }
        if self.status, !missing.isEmpty { throw ExitCode(FailureKind.refused.rawValue) }
    }
}

extension HubConfiguration {
    /// - Throws: ``CommandFailure`` that names the setting.
    static func fromEnvironment() throws -> HubConfiguration {
        do {
            return try HubConfiguration(environment: ProcessInfo.processInfo.environment)
        } catch {
            throw CommandFailure(.usage, "\(error)")
        }
    }
}
