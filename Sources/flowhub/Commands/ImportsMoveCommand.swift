import ArgumentParser
import FlowCore

/// `flowhub imports move`
struct ImportsMoveCommand: AsyncParsableCommand {
    enum Target: String, ExpressibleByArgument, CaseIterable {
        /// Objects, in R2 or in the directory of the embedded store.
        case r2
        /// Rows, in Postgres or in the embedded store.
        case postgres
    }

    static let configuration = CommandConfiguration(
        commandName: "move",
        abstract: "Move the records of imports from the database to the object store, or back.",
        discussion: """
            For each import, copies the records, reads the copy back completely and compares it. Then one transaction compares \
            the rows again and switches the ledger to the copy. The command may be interrupted at any time and repeated. Rows \
            that a program adds during the move are kept. Imports of a legacy service are moved too. An import that cannot be \
            moved is named, and the others are moved.

            EXAMPLES
              flowhub imports move --to r2 --dry-run
              flowhub imports move --to r2 --limit 100
              flowhub imports move --to postgres 6f1c…

            EXIT CODES: 0 success; 1 some imports could not be moved, and are named; 2 invalid usage; 3 a store failed; 4 \
            another process is moving imports; 130 interrupted.
            """)

    @Option(help: "Destination: r2 (objects) or postgres (rows).")
    var to: Target

    @Flag(name: .customLong("dry-run"), help: "Count and print what would be moved, and move nothing.")
    var isDryRun = false

    @Option(help: ArgumentHelp("Maximum number of imports to move.", valueName: "n"))
    var limit: Int?

    @OptionGroup var progress: ProgressOptions
    @OptionGroup var location: StoreLocation

    @Argument(help: "The ids of the imports to move. (default: all)")
    var ids: [String] = []

    func run() async throws {
        let only = try Set(self.ids.map { try ImportID.argument($0) })
        guard (self.limit ?? 1) >= 1 else { throw CommandFailure(.usage, "--limit must be 1 or higher, not \(self.limit ?? 0).") }
        let report = try await ImportStores.run(self.location) { stores in
            if self.to == .r2, !stores.takesObjects {
                throw CommandFailure(
                    .usage,
                    stores.objectMaintenance == nil
                        ? "No object store is configured. Set R2_BUCKET_NAME and the other R2 settings, and R2_ENABLED=true."
                        : "R2_ENABLED is false, so nothing is moved to the object store. Set R2_ENABLED=true.")
            }
            if self.isDryRun { return try await self.move(stores, only) }
            return try await stores.withMoveLock { try await self.move(stores, only) }
        }
        Terminal.note(report.text(isDryRun: self.isDryRun))
        if report.failed > 0 {
            throw CommandFailure(
                .rejected,
                "\(report.failed) imports \(self.isDryRun ? "would" : "could") not be moved. They are unchanged.")
        }
    }

    private struct Report {
        var moved = 0
        var records = 0
        var failed = 0

        /// The summary for the terminal: how many imports and records were moved, or with `--dry-run` would be.
        func text(isDryRun: Bool) -> String {
            let what = "\(HumanReadable.count(self.moved)) imports with \(HumanReadable.count(self.records)) records"
            return isDryRun ? "\(what) would be moved." : "\(what) moved."
        }
    }

    /// Moves the imports that are not at the destination yet, or with `--dry-run` lists them. `only`: their ids; empty:
    /// all.
    private func move(_ stores: ImportStores, _ only: Set<ImportID>) async throws -> Report {
        let mover = ImportMover(stores.service)
        var report = Report()
        try await stores.forEachImport { entry in
            guard only.isEmpty || only.contains(entry.id), report.moved < self.limit ?? .max else { return }
            guard entry.status == .stored, (entry.location == nil) == (self.to == .r2) else { return }
            if self.isDryRun {
                try await self.plan(entry, mover, stores, &report)
            } else {
                try await self.move(entry, mover, stores, &report)
            }
        }
        return report
    }

    /// Prints what moving one import would do, and adds it to the report.
    private func plan(_ entry: Import, _ mover: ImportMover, _ stores: ImportStores, _ report: inout Report) async throws {
        let plan: ImportMover.Plan
        do throws(ImportError) { plan = try await mover.plan(entry) } catch {
            report.failed += 1
            Terminal.note("import \(entry.id) would not be moved: \(try await stores.message(error, of: entry.id))")
            return
        }
        switch plan {
        case .move(let records, let bytes):
            report.moved += 1
            report.records += records
            let size = bytes.map { ", \(HumanReadable.bytes($0))" } ?? ""
            try Terminal.show("\(entry.id)  \(HumanReadable.count(records)) records\(size)")
        case .claimedByOther:
            report.failed += 1
            Terminal.note("import \(entry.id) would not be moved: another process has claimed it.")
        }
    }

    /// Moves one import, prints the outcome and adds it to the report.
    /// - Throws: an import error that concerns not only this import.
    private func move(_ entry: Import, _ mover: ImportMover, _ stores: ImportStores, _ report: inout Report) async throws {
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
            report.failed += 1
            Terminal.note(
                "import \(entry.id) was not moved and is unchanged: \(try await stores.message(error, of: entry.id))")
            return
        }
        bar.clear()
        switch outcome {
        case .moved(let records, let bytes):
            report.moved += 1
            report.records += records
            try Terminal.show("\(entry.id)  \(HumanReadable.count(records)) records, \(HumanReadable.bytes(bytes))")
        case .alreadyMoved: break
        case .claimedByOther:
            report.failed += 1
            Terminal.note("import \(entry.id) was not moved: another process has claimed it. Run this command again later.")
        case .changedConcurrently:
            report.failed += 1
            Terminal.note(
                "import \(entry.id) was not moved: its rows changed during the move. "
                    + "Run this command again when they no longer change.")
        }
    }
}
