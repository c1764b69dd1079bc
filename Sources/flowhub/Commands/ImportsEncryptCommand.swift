import ArgumentParser
import FlowCore

/// `flowhub imports encrypt`
struct ImportsEncryptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "encrypt",
        abstract: "Encrypt stored objects with the import key that encrypts new imports.",
        discussion: """
            Writes each object anew that is not encrypted with the encrypting key of FLOWHUB_IMPORT_KEYS, reads the copy back \
            and compares it, then switches the ledger to it and deletes the old object. So imports from before encryption are \
            encrypted, and an old key can be removed from the file afterwards. If no key of the file encrypts, the objects are \
            written without encryption. The command may be interrupted at any time and repeated. Imports in database rows are \
            named and left unchanged: move them to objects, and back.

            EXAMPLES
              flowhub imports encrypt --dry-run
              flowhub imports encrypt --limit 100

            EXIT CODES: 0 success; 1 some imports could not be encrypted, and are named; 2 invalid usage; 3 a store failed; 4 \
            another process is moving imports; 130 interrupted.
            """)

    @Flag(name: .customLong("dry-run"), help: "Print what would be written, and change nothing.")
    var isDryRun = false

    @Option(help: ArgumentHelp("Maximum number of imports to write.", valueName: "n"))
    var limit: Int?

    @OptionGroup var progress: ProgressOptions
    @OptionGroup var location: StoreLocation

    @Argument(help: "The ids of the imports to encrypt. (default: all)")
    var ids: [String] = []

    private struct Report {
        var written = 0
        var records = 0
        var failed = 0
        /// Imports in rows that are not encrypted with the key that encrypts.
        var rows = 0
    }

    func run() async throws {
        let only = try Set(self.ids.map { try ImportID.argument($0) })
        guard (self.limit ?? 1) >= 1 else { throw CommandFailure(.usage, "--limit must be 1 or higher, not \(self.limit ?? 0).") }
        let report = try await ImportStores.run(self.location) { stores in
            guard stores.service.hasImportKeys else {
                throw CommandFailure(.usage, "No import keys are configured. Set FLOWHUB_IMPORT_KEYS to a file of keys.")
            }
            if stores.objectMaintenance != nil, !stores.takesObjects {
                throw CommandFailure(
                    .usage, "R2_ENABLED is false, so nothing is written to the object store. Set R2_ENABLED=true.")
            }
            if self.isDryRun { return try await self.encrypt(stores, only) }
            return try await stores.withMoveLock { try await self.encrypt(stores, only) }
        }
        let what = "\(HumanReadable.count(report.written)) imports with \(HumanReadable.count(report.records)) records"
        Terminal.note(self.isDryRun ? "\(what) would be written anew." : "\(what) written anew.")
        if report.rows > 0 {
            Terminal.note(
                "\(HumanReadable.count(report.rows)) imports in database rows were left unchanged. "
                    + "`flowhub imports move --to r2` encrypts them.")
        }
        if report.failed > 0 {
            throw CommandFailure(.rejected, "\(report.failed) imports could not be written anew. They are unchanged.")
        }
    }

    private func encrypt(_ stores: ImportStores, _ only: Set<ImportID>) async throws -> Report {
        let mover = ImportMover(stores.service)
        var report = Report()
        try await stores.forEachImport { entry in
            guard only.isEmpty || only.contains(entry.id), report.written < self.limit ?? .max, entry.status == .stored,
                stores.service.isUnderOtherKey(entry)
            else { return }
            guard entry.location != nil else {
                report.rows += 1
                return
            }
            if self.isDryRun {
                try Terminal.show("\(entry.id)  \(entry.totalRecords.map { HumanReadable.count($0) } ?? "?") records")
                report.written += 1
                report.records += entry.totalRecords ?? 0
                return
            }
            let bar = ProgressBar(
                label: entry.id.rawValue, total: entry.totalRecords, unit: .items("records"), style: self.progress.style)
            defer { bar.clear() }
            do throws(ImportError) {
                switch try await mover.rewriteObject(entry.id, progress: { bar.update($0) }) {
                case .moved(let records, let bytes):
                    report.written += 1
                    report.records += records
                    bar.clear()
                    try? Terminal.show("\(entry.id)  \(HumanReadable.count(records)) records, \(HumanReadable.bytes(bytes))")
                case .alreadyMoved: break
                case .claimedByOther, .changedConcurrently:
                    report.failed += 1
                    bar.clear()
                    Terminal.note(
                        "import \(entry.id) is unchanged: another process has claimed it. Run this command again later.")
                }
            } catch {
                bar.clear()
                report.failed += 1
                Terminal.note("import \(entry.id) is unchanged: \(try await stores.message(error, of: entry.id))")
            }
        }
        return report
    }
}
