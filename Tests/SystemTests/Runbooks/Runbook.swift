import FlowTestKit
import Foundation

/// The scripts of `deploy/runbooks`, which OPERATIONS.md quotes.
enum Runbook: String, CaseIterable, Sendable {
    case embeddedBackup = "embedded-backup.sh"
    case embeddedRestore = "embedded-restore.sh"
    case postgresCreate = "postgres-create.sql"
    case postgresGrants = "postgres-grants.sql"
    case postgresBackup = "postgres-backup.sh"
    case postgresRestore = "postgres-restore.sh"
    case postgresSwitch = "postgres-switch.sql"
    case sqliteToPostgres = "sqlite-to-postgres.sh"
    case postgresToSQLite = "postgres-to-sqlite.sh"
    case importsToR2 = "imports-to-r2.sh"
    case importsToPostgres = "imports-to-postgres.sh"
    case rotateR2Keys = "rotate-r2-keys.sh"
    /// Not a script: `AlembicTests` run it.
    case alembicIncludeObject = "alembic-include-object.py"

    static let root: String = {
        var folder = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { folder.deleteLastPathComponent() }
        return folder.path
    }()

    static var folder: String { Self.root + "/deploy/runbooks" }

    var path: String { Self.folder + "/" + self.rawValue }

    /// What the script does, without its head: everything after the first empty line.
    var body: String {
        get throws {
            let text = try String(contentsOfFile: self.path, encoding: .utf8)
            return text.range(of: "\n\n").map { String(text[$0.upperBound...]) } ?? ""
        }
    }

    /// Runs the script to its end: a shell script with bash, SQL with psql. Both find `flowhub` and the programs of Postgres.
    @discardableResult
    func run(_ environment: [String: String]) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
        let process = try self.start(environment, folder: NSTemporaryDirectory())
        do {
            let exit = try await process.waitForExit(within: .seconds(60))
            return (exit, process.output, process.errorOutput)
        } catch {
            await process.destroy()
            throw error
        }
    }

    /// Runs the script and expects success.
    func succeed(_ environment: [String: String]) async throws -> String {
        let (exit, output, errors) = try await self.run(environment)
        guard exit == .code(0) else {
            throw ChildProcess.Failure(description: "\(self.rawValue) (\(exit)): \(output)\(errors)")
        }
        return output + errors
    }

    private func start(_ environment: [String: String], folder: String) throws -> ChildProcess {
        let binary = URL(fileURLWithPath: try HubBinary.path()).deletingLastPathComponent().path
        let path = [binary, Postgres.binaryFolder, ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"]
        var all = ["PATH": path.compactMap { $0 }.joined(separator: ":"), "SWIFT_BACKTRACE": "enable=no"]
        all.merge(environment) { $1 }
        return self.rawValue.hasSuffix(".sql")
            ? try ChildProcess(
                try Postgres.path("psql"), ["--no-psqlrc", "--quiet", "--file=\(self.path)"], environment: all, folder: folder)
            : try ChildProcess("/bin/bash", [self.path], environment: all, folder: folder)
    }
}
