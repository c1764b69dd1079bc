import ArgumentParser
import FlowPostgres
import Foundation
import Logging

/// `flowhub migrate`
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Apply missing migrations to the Postgres database.",
        discussion: """
            Uses the database of DATABASE_URL. `flowhub serve` applies the same migrations before it listens, unless \
            FLOWHUB_MIGRATE=false. Concurrent runs are safe: one migrates, the others wait. The embedded store migrates itself.

            EXAMPLES
              DATABASE_URL=postgres://hub@db/hub flowhub migrate --status
              DATABASE_URL=postgres://hub@db/hub flowhub migrate
              DATABASE_URL=postgres://hub@db/app FLOWHUB_PG_SCHEMA=flowhub flowhub migrate --move-from public

            EXIT CODES: 0 success, or with --status no migration is missing; 1 failed, or with --status a migration is \
            missing; 2 invalid usage.
            """)

    @Flag(help: "List applied and missing migrations, and change nothing.")
    var status = false

    @Flag(help: "Print the SQL of the missing migrations, and change nothing.")
    var dryRun = false

    @Option(
        help: ArgumentHelp(
            """
            Move the hub's own tables from this schema into that of FLOWHUB_PG_SCHEMA, and then migrate. Stop all instances first: \
            those that use the old schema fail afterwards.
            """, valueName: "schema"))
    var moveFrom: String?

    func validate() throws {
        if self.moveFrom != nil, self.status || self.dryRun {
            throw ValidationError("--move-from cannot be combined with --status or --dry-run.")
        }
    }

    func run() async throws {
        let configuration = try HubConfiguration.fromEnvironment()
        guard let settings = configuration.postgres else {
            throw CommandFailure(
                .usage, "DATABASE_URL is not set. Set it to migrate Postgres; the embedded store migrates itself.")
        }
        let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .notice, format: .text) }
        let runner = MigrationRunner(settings, logger: logger)
        do {
            if self.status || self.dryRun {
                try await self.show(runner)
            } else {
                if let schema = self.moveFrom {
                    try await runner.move(from: schema)
                    print("Moved the hub's tables from \(schema) to \(settings.schema ?? "").")
                }
                let applied = try await runner.run()
                print(
                    applied.isEmpty ? "Nothing to do: the schema is up to date." : "Applied: \(applied.joined(separator: ", "))")
            }
        } catch let error as PostgresError {
            throw CommandFailure(.rejected, "Migration failed: \(error.explanation)")
        }
    }

    /// Prints the migrations with their status, or the SQL of the missing ones. Changes nothing.
    /// - Throws: `ExitCode(1)` with `--status` if a migration is missing.
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
            if missing.isEmpty { print("-- No migration is missing.") }
        }
        if self.status, !missing.isEmpty { throw ExitCode(FailureKind.rejected.rawValue) }
    }
}

extension HubConfiguration {
    /// Reads the configuration from this process's environment.
    /// - Throws: ``CommandFailure`` of kind `usage` that names the invalid setting.
    static func fromEnvironment() throws -> HubConfiguration {
        do {
            return try HubConfiguration(environment: ProcessInfo.processInfo.environment)
        } catch {
            throw CommandFailure(.usage, "Invalid setting \(error)")
        }
    }
}
