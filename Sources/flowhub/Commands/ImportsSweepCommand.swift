import ArgumentParser
import FlowCore

/// `flowhub imports sweep`
struct ImportsSweepCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sweep",
        abstract: "Remove what no import refers to, and name imports whose object is missing.",
        discussion: """
            Ends imports that a process left half done (a hub does that by itself), removes objects that no import names and \
            uploads that nobody will finish. Imports whose object is missing are named and left alone.

            EXAMPLES
              flowhub imports sweep --dry-run
              flowhub imports sweep --older-than 1h

            EXIT CODES: 0 done; 1 an import's object is missing; 2 wrong usage; 3 a store failed; 130 interrupted.
            """)

    @Flag(name: .customLong("dry-run"), help: "Tell what would be removed, and remove nothing.")
    var isDry = false

    @Option(help: ArgumentHelp("What is younger is left alone: 90s, 15m, 24h, 7d.", valueName: "time"))
    var olderThan = "24h"

    @Flag(help: "Remove them even if most objects of the bucket belong to no import of this database.")
    var force = false

    @OptionGroup var location: StoreLocation

    func run() async throws {
        guard let seconds = Self.seconds(self.olderThan) else {
            throw CommandFailure(.usage, "--older-than takes a number with s, m, h or d, for instance 24h.")
        }
        let report = try await ImportStores.run(self.location) { stores in
            let sweeper = ImportSweeper(stores.service)
            if self.isDry || self.force { return try await sweeper.sweep(olderThan: seconds, isDry: self.isDry) }
            // The bucket of another database, or a database that was restored: a sweep would empty it.
            let found = try await sweeper.sweep(olderThan: seconds, isDry: true)
            guard !found.isSuspicious else {
                throw CommandFailure(
                    .refused,
                    "\(found.orphans.count) of \(found.objects) objects belong to no import of this database. Is it the right one for "
                        + "this bucket? See --dry-run; --force removes them.")
            }
            return try await sweeper.sweep(olderThan: seconds, isDry: false)
        }
        let verb = self.isDry ? "would be removed" : "removed"
        for object in report.orphans { try Terminal.show("\(object.key)  \(HumanReadable.bytes(object.size)), \(verb)") }
        for upload in report.uploads { try Terminal.show("\(upload.key)  unfinished since \(upload.initiatedAt), \(verb)") }
        for id in report.dangling { try Terminal.show("\(id)  its object is missing") }
        Terminal.say(
            "\(report.abandoned) interrupted imports ended, \(report.orphans.count) objects and \(report.uploads.count) uploads \(verb), "
                + "\(report.dangling.count) objects missing.")
        if !report.dangling.isEmpty {
            throw CommandFailure(.refused, "The objects of \(report.dangling.count) imports are missing.")
        }
    }

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
