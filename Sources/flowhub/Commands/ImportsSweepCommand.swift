import ArgumentParser
import FlowCore

/// `flowhub imports sweep`
struct ImportsSweepCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sweep",
        abstract: "Delete objects that no import refers to, and list imports whose object is missing.",
        discussion: """
            Marks interrupted imports as failed (a running hub also does this), deletes objects that no import refers to, and \
            aborts unfinished uploads. Imports whose object is missing are listed and left unchanged; an object that such an \
            import may need stays.

            EXAMPLES
              flowhub imports sweep --dry-run
              flowhub imports sweep --older-than 1h

            EXIT CODES: 0 success; 1 the object of an import is missing, or the database does not match the bucket; 2 invalid \
            usage; 3 a store failed; 130 interrupted.
            """)

    @Flag(name: .customLong("dry-run"), help: "Print what would be removed, and remove nothing.")
    var isDryRun = false

    @Option(help: ArgumentHelp("Keep objects and uploads younger than this: 90s, 15m, 24h, 7d.", valueName: "time"))
    var olderThan = "24h"

    @Flag(help: "Remove objects even if most objects of the bucket belong to no import of this database.")
    var force = false

    @OptionGroup var location: StoreLocation

    func run() async throws {
        guard let seconds = Self.seconds(self.olderThan) else {
            throw CommandFailure(
                .usage,
                "--older-than must be a number with s, m, h or d, such as 24h, not \"\(Terminal.sanitized(self.olderThan))\".")
        }
        let report = try await ImportStores.run(self.location) { stores in
            if !self.isDryRun { try await stores.checkClock() }
            let sweeper = ImportSweeper(stores.service)
            if self.isDryRun || self.force { return try await sweeper.sweep(olderThan: seconds, isDryRun: self.isDryRun) }
            // With the bucket of another database, or after the database was restored from an older copy, a sweep would delete
            // objects that are in use. So a dry run first finds out how many objects belong to no import.
            let found = try await sweeper.sweep(olderThan: seconds, isDryRun: true)
            guard !found.isSuspicious else {
                throw CommandFailure(
                    .rejected,
                    "\(found.orphans.count) of \(found.objects) objects belong to no import of this database. Nothing was "
                        + "removed. Check that the database belongs to this bucket. --dry-run lists the objects, "
                        + "--force removes them.")
            }
            return try await sweeper.sweep(olderThan: seconds, isDryRun: false)
        }
        let verb = self.isDryRun ? "would be removed" : "removed"
        for object in report.orphans { try Terminal.show("\(object.key)  \(HumanReadable.bytes(object.size)), \(verb)") }
        for upload in report.uploads { try Terminal.show("\(upload.key)  unfinished since \(upload.initiatedAt), \(verb)") }
        for id in report.dangling { try Terminal.show("\(id)  the object of this import is missing") }
        for object in report.needed {
            try Terminal.show("\(object.key)  stays: its import may need it, see `flowhub imports verify`")
        }
        for (id, reason) in report.unread.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            try Terminal.show("\(id)  the object of this import could not be looked up: \(reason)")
        }
        Terminal.note(
            "\(report.abandoned) interrupted imports cleaned up, \(report.orphans.count) objects and "
                + "\(report.uploads.count) uploads \(verb), \(report.dangling.count) objects missing.")
        if !report.dangling.isEmpty {
            throw CommandFailure(
                .rejected, "The objects of \(report.dangling.count) imports are missing. The output names the imports.")
        }
    }

    /// Parses an age such as `90s`, `15m`, `24h` or `7d`.
    /// - Returns: seconds; `nil` for any other text.
    static func seconds(_ text: String) -> Int64? {
        guard let unit = text.last, let count = Int64(text.dropLast()), count >= 0, count <= 100_000_000 else { return nil }
        switch unit {
        case "s": return count
        case "m": return count * 60
        case "h": return count * 3_600
        case "d": return count * 86_400
        default: return nil
        }
    }
}
