import ArgumentParser
import FlowCore
import FlowEmbedded
import FlowObjects

/// `flowhub backup`
struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Back up the embedded store: its database and its objects, as of one moment.",
        discussion: """
            The hub may run meanwhile. The backup is a directory, readable by the current user only: flowhub.sqlite, \
            objects/stored, backup.json, and SHA256SUMS, which `sha256sum -c` verifies. It appears under its name when it is \
            complete and on disk. Objects in R2 are not part of it. Back up Postgres with pg_dump.

            EXAMPLES
              flowhub backup /backup/flowhub-2026-11-30 --data /var/lib/flowhub
              tar -C /backup -czf flowhub.tar.gz flowhub-2026-11-30

            EXIT CODES: 0 success; 1 failed, and there is no backup; 2 invalid usage; 130 interrupted.
            """)

    @Argument(help: ArgumentHelp("Directory of the backup; must not exist.", valueName: "dir"))
    var target: String

    @OptionGroup var location: StoreLocation

    func run() async throws {
        let directory = try self.location.embeddedDirectory(for: "backup")
        let interrupt = CommandRunner.exitOnInterrupt()
        defer { interrupt.end() }
        let summary: EmbeddedBackup.Summary
        do throws(EmbeddedStoreError) {
            summary = try EmbeddedBackup.create(
                of: directory, at: self.target, makeHash: { GzipCodec.makeHash() }, now: SystemClock.now())
        } catch {
            throw CommandFailure(.rejected, "No backup was made. \(error)")
        }
        Terminal.note(
            "\(HumanReadable.count(summary.flows)) flows, \(HumanReadable.count(summary.imports)) imports and "
                + "\(HumanReadable.count(summary.objects)) objects backed up: \(HumanReadable.bytes(summary.bytes)), "
                + "epoch \(summary.epoch).")
        if summary.elsewhere > 0 {
            Terminal.note(
                "The objects of \(HumanReadable.count(summary.elsewhere)) imports are in R2 and not part of the backup.")
        }
    }
}

/// `flowhub restore`
struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Restore a backup of the embedded store into an empty data directory.",
        discussion: """
            Verifies every file of the backup first. Raises the epoch of the restored store, so that a version cannot stand \
            for two different events: every client gets a resync and a snapshot. As root, gives the files to the user that \
            they belonged to. An interrupted restore is repeated with the same command; until then no hub starts there.

            EXAMPLES
              mv /var/lib/flowhub /var/lib/flowhub.old
              flowhub restore /backup/flowhub-2026-11-30 --data /var/lib/flowhub

            EXIT CODES: 0 success; 1 failed, and nothing was restored; 2 invalid usage; 130 interrupted.
            """)

    @Argument(help: ArgumentHelp("Directory of the backup.", valueName: "dir"))
    var backup: String

    @OptionGroup var location: StoreLocation

    func run() async throws {
        let directory = try self.location.embeddedDirectory(for: "restore")
        let interrupt = CommandRunner.exitOnInterrupt()
        defer { interrupt.end() }
        let summary: EmbeddedRestore.Summary
        do {
            summary = try await EmbeddedRestore.restore(
                self.backup, to: directory, makeHash: { GzipCodec.makeHash() }, now: SystemClock.now,
                logger: StoreLocation.logger)
        } catch {
            throw CommandFailure(.rejected, "Nothing was restored. \(error)")
        }
        Terminal.note(
            "\(HumanReadable.count(summary.files)) files restored and verified: \(HumanReadable.bytes(summary.bytes)). "
                + "They belong to \(summary.owner). The epoch was raised to \(summary.epoch).")
        if let former = summary.formerOwner {
            Terminal.note(
                "The store belonged to \(former). If the hub runs as that user, run: chown -R \(former): \(directory)")
        }
    }
}

extension StoreLocation {
    /// The directory of the embedded store.
    /// - Throws: ``CommandFailure`` of kind `usage` if this environment's store is Postgres.
    func embeddedDirectory(for command: String) throws -> String {
        let configuration = try self.configuration()
        guard configuration.postgres == nil else {
            throw CommandFailure(
                .usage,
                "flowhub \(command) is for the embedded store, and DATABASE_URL is set. Pass --data, or use pg_dump and "
                    + "pg_restore for Postgres.")
        }
        return configuration.dataDirectory
    }
}
