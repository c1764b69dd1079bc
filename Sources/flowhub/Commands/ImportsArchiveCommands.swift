import ArgumentParser
import FlowCore
import FlowEmbedded

/// `flowhub imports export`
struct ImportsExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Export all imports of a store, with their records, to a directory.",
        discussion: """
            Reads rows and objects, compares counts and hashes with the ledger, and writes for each import its description and \
            its records (gzip). May be interrupted and repeated: what the directory has already is not copied again. Stop the \
            hub before, so that no import is being uploaded. `flowhub imports import` reads the directory.

            EXAMPLES
              flowhub imports export ./imports --data ./flowhub-data
              DATABASE_URL=postgres://hub@db/hub flowhub imports export ./imports

            EXIT CODES: 0 every import was exported; 1 some were not, and are named; 2 invalid usage; 3 a store failed; 4 \
            another process is moving imports; 130 interrupted.
            """)

    @Argument(help: ArgumentHelp("The directory to write.", valueName: "dir"))
    var directory: String

    @OptionGroup var progress: ProgressOptions
    @OptionGroup var location: StoreLocation

    func run() async throws {
        let report = try await ImportStores.run(self.location) { stores in
            let archiver = try stores.archiver(self.directory)
            return try await stores.withMoveLock { try await self.export(stores, archiver) }
        }
        Terminal.note(
            "\(HumanReadable.count(report.totals.imports)) imports exported (\(HumanReadable.count(report.totals.failed)) of them "
                + "failed ones) with \(HumanReadable.count(report.totals.records)) records.")
        if report.missing > 0 {
            throw CommandFailure(
                .rejected, "\(report.missing) imports were not exported. The output names them. The export is incomplete.")
        }
    }

    private struct Report {
        var totals = ImportArchiveTotals()
        var missing = 0
    }

    private func export(_ stores: ImportStores, _ archiver: ImportArchiver) async throws -> Report {
        try await archiver.begin()
        let unannounced = try await stores.unannounced()
        var report = Report()
        var ids: Set<ImportID> = []
        try await stores.forEachImport { entry in
            let bar = ProgressBar(
                label: entry.id.rawValue, total: entry.totalRecords, unit: .items("records"), style: self.progress.style)
            let outcome: ImportArchiver.ExportOutcome
            do throws(ImportError) {
                outcome = try await archiver.export(entry, isAnnounced: !unannounced.contains(entry.id)) { bar.update($0) }
            } catch {
                bar.clear()
                report.missing += 1
                Terminal.note("import \(entry.id) was not exported: \(try await stores.message(error, of: entry.id))")
                return
            }
            bar.clear()
            switch outcome {
            case .exported(let archived):
                report.totals.add(archived)
                ids.insert(entry.id)
                try Terminal.show("\(entry.id)  \(Self.description(of: archived))")
            case .upToDate(let archived):
                report.totals.add(archived)
                ids.insert(entry.id)
            case .deleted: break
            case .inProgress:
                report.missing += 1
                Terminal.note("import \(entry.id) was not exported: it is being uploaded. Stop the hub and run this again.")
            }
        }
        // Imports that were deleted since an earlier export into this directory.
        for id in try await archiver.ids() where !ids.contains(id) { try await archiver.remove(id) }
        if report.missing == 0 { try await archiver.finish(report.totals) }
        return report
    }

    /// An import's status and number of records, for the output.
    fileprivate static func description(of archived: ArchivedImport) -> String {
        archived.entry.status == .failed
            ? "failed upload, no records" : "\(HumanReadable.count(archived.entry.totalRecords ?? 0)) records"
    }
}

/// `flowhub imports import`
struct ImportsImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Import exported imports into a store.",
        discussion: """
            Keeps ids, times, file names and idempotency keys. The records become objects or rows, as the store is configured \
            to keep new imports. An import becomes visible when its records are stored and compared. One that exists with the \
            same records is skipped, so the command may be interrupted and repeated; one that differs is named and left \
            unchanged. Import the flows first.

            EXAMPLES
              DATABASE_URL=postgres://hub@db/hub flowhub imports import ./imports
              flowhub imports import ./imports --data ./flowhub-data

            EXIT CODES: 0 the store has every import of the directory; 1 some could not be imported, or the directory is \
            incomplete; 2 invalid usage; 3 a store failed; 4 some exist with other records, or another process is moving \
            imports; 130 interrupted.
            """)

    @Argument(help: ArgumentHelp("The directory that `flowhub imports export` wrote.", valueName: "dir"))
    var directory: String

    @OptionGroup var progress: ProgressOptions
    @OptionGroup var location: StoreLocation

    func run() async throws {
        let (report, totals) = try await ImportStores.run(self.location) { stores in
            let archiver = try stores.archiver(self.directory)
            guard let totals = try await archiver.totals() else {
                throw CommandFailure(
                    .rejected,
                    "\(self.directory) has no complete export. Run `flowhub imports export` until it exits with 0.")
            }
            let report = try await stores.withMoveLock { try await self.restore(archiver) }
            return (report, totals)
        }
        Terminal.note(
            "\(HumanReadable.count(report.restored.imports)) imports with \(HumanReadable.count(report.restored.records)) records "
                + "imported, \(HumanReadable.count(report.present.imports)) already existed; the export has "
                + "\(HumanReadable.count(totals.imports)) imports with \(HumanReadable.count(totals.records)) records.")
        if report.failed > 0 {
            throw CommandFailure(.rejected, "\(report.failed) imports could not be imported. The output names them.")
        }
        if report.conflicting > 0 {
            throw CommandFailure(.conditionFailed, "\(report.conflicting) imports exist otherwise and were left unchanged.")
        }
        guard report.restored.imports + report.present.imports == totals.imports,
            report.restored.records + report.present.records == totals.records
        else {
            throw CommandFailure(.rejected, "The directory lacks imports of the export. Export again.")
        }
    }

    private struct Report {
        var restored = ImportArchiveTotals()
        var present = ImportArchiveTotals()
        var conflicting = 0
        var failed = 0
    }

    private func restore(_ archiver: ImportArchiver) async throws -> Report {
        var report = Report()
        for id in try await archiver.ids() {
            do throws(ImportError) {
                guard let archived = try await archiver.entry(id) else { continue }
                let bar = ProgressBar(
                    label: id.rawValue, total: archived.entry.totalRecords, unit: .items("records"), style: self.progress.style)
                defer { bar.clear() }
                switch try await archiver.restore(archived, progress: { bar.update($0) }) {
                case .restored:
                    report.restored.add(archived)
                    bar.clear()
                    Terminal.note("\(id)  \(ImportsExportCommand.description(of: archived))")
                case .alreadyPresent: report.present.add(archived)
                case .conflict:
                    report.conflicting += 1
                    Terminal.note(
                        "import \(id) was left unchanged: the store has another import with this id or Idempotency-Key.")
                case .claimedByOther:
                    report.failed += 1
                    Terminal.note("import \(id) was not imported: another process has claimed it. Run this again later.")
                }
            } catch {
                guard let what = error.unreadable else { throw error }
                report.failed += 1
                Terminal.note("import \(id) was not imported: \(what)")
            }
        }
        return report
    }
}
