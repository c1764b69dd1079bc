import ArgumentParser
import FlowCore

/// `flowhub imports move`
struct ImportsMoveCommand: AsyncParsableCommand {
    enum Target: String, ExpressibleByArgument, CaseIterable {
        /// Objects: R2, or the folder of the embedded store.
        case r2
        /// Rows: of Postgres, or of the embedded store.
        case postgres
    }

    static let configuration = CommandConfiguration(
        commandName: "move",
        abstract: "Carry imports from the database into objects, or back.",
        discussion: """
            Each import is copied, read back whole and compared; only then, in one transaction that compares the rows once more, does \
            the ledger name the copy. It may be stopped at any moment and run again. Rows that arrive meanwhile stay. Imports \
            that an older service made are moved, too.

            EXAMPLES
              flowhub imports move --to r2 --dry-run
              flowhub imports move --to r2 --limit 100
              flowhub imports move --to postgres 6f1c…

            EXIT CODES: 0 done; 1 some could not be moved, and are named; 2 wrong usage; 3 a store failed; 4 another process moves \
            imports; 130 interrupted.
            """)

    @Option(help: "Where to: r2 (objects) or postgres (rows).")
    var to: Target

    @Flag(name: .customLong("dry-run"), help: "Tell what would be moved, and move nothing.")
    var isDry = false

    @Option(help: ArgumentHelp("Imports at most.", valueName: "n"))
    var limit: Int?

    @OptionGroup var progress: ProgressOptions
    @OptionGroup var location: StoreLocation

    @Argument(help: "Only these imports.")
    var ids: [String] = []

    func run() async throws {
        let only = try Set(self.ids.map { try ImportID.argument($0) })
        guard (self.limit ?? 1) >= 1 else { throw CommandFailure(.usage, "--limit takes 1 or more.") }
        let report = try await ImportStores.run(self.location) { stores in
            if self.to == .r2, stores.housekeeping == nil {
                throw CommandFailure(
                    .usage, "There is no object store. Set R2_BUCKET_NAME and the other R2 settings, and R2_ENABLED=true.")
            }
            if self.isDry { return try await self.move(stores, only) }
            return try await stores.alone { try await self.move(stores, only) }
        }
        Terminal.say(report.text(isDry: self.isDry))
        if report.failed > 0 {
            throw CommandFailure(.refused, "\(report.failed) imports could not be moved. They are as they were.")
        }
    }

    private struct Report {
        var moved = 0
        var records = 0
        var failed = 0

        func text(isDry: Bool) -> String {
            let what = "\(HumanReadable.count(self.moved)) imports with \(HumanReadable.count(self.records)) records"
            return isDry ? "\(what) would be moved." : "\(what) moved."
        }
    }

    private func move(_ stores: ImportStores, _ only: Set<ImportID>) async throws -> Report {
        let mover = ImportMover(stores.service)
        var report = Report()
        try await stores.each { entry in
            guard only.isEmpty || only.contains(entry.id), report.moved < self.limit ?? .max else { return }
            guard entry.status == .stored, (entry.location == nil) == (self.to == .r2) else { return }
            if self.isDry {
                try Terminal.show("\(entry.id)  \(entry.totalRecords.map { HumanReadable.count($0) } ?? "?") records")
                report.moved += 1
                report.records += entry.totalRecords ?? 0
                return
            }
            try await self.move(entry, mover, &report)
        }
        return report
    }

    private func move(_ entry: Import, _ mover: ImportMover, _ report: inout Report) async throws {
        let bar = ProgressBar(
            label: entry.id.rawValue, total: entry.totalRecords, unit: .items("records"), style: self.progress.style)
        let outcome: ImportMover.Outcome
        do throws(ImportError) {
            if self.to == .r2 {
                outcome = try await mover.moveToObjects(entry.id) { bar.update($0) }
            } else {
                outcome = try await mover.moveToRows(entry.id) { bar.update($0) }
            }
        } catch {
            bar.clear()
            guard case .damaged(let what) = error else { throw error }
            report.failed += 1
            Terminal.say("\(entry.id): \(what) It was left as it is.")
            return
        }
        bar.clear()
        switch outcome {
        case .moved(let records, let bytes):
            report.moved += 1
            report.records += records
            try Terminal.show("\(entry.id)  \(HumanReadable.count(records)) records, \(HumanReadable.bytes(bytes))")
        case .nothingToDo: break
        case .held:
            report.failed += 1
            Terminal.say("\(entry.id): somebody works on it just now. Run this again later.")
        case .unsteady:
            report.failed += 1
            Terminal.say("\(entry.id): its rows changed all the while. Run this again when nobody writes them.")
        }
    }
}
