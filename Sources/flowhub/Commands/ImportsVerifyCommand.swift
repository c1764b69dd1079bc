import ArgumentParser
import FlowCore

/// `flowhub imports verify`
struct ImportsVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read imports completely, and compare their counts and hashes with the import ledger.",
        discussion: """
            Prints one line per problem, with what to do. Database rows of an import that its object does not contain are \
            listed, but are no damage. Nor is a contradiction in the ledger, as long as it is certain where the records are: \
            they are read there, and --repair corrects the ledger.

            EXAMPLES
              flowhub imports verify
              flowhub imports verify --repair
              flowhub imports verify 6f1c…

            EXIT CODES: 0 no import is damaged; 1 at least one import is damaged or could not be read or repaired, and is named; \
            2 invalid usage; 3 a store failed; 130 interrupted.
            """)

    @Flag(help: "Correct contradictions in the ledger whose truth is certain. Rows and objects are not changed.")
    var repair = false

    @OptionGroup var progress: ProgressOptions
    @OptionGroup var location: StoreLocation

    @Argument(help: "The ids of the imports to verify. (default: all)")
    var ids: [String] = []

    func run() async throws {
        let only = try Set(self.ids.map { try ImportID.argument($0) })
        let report = try await ImportStores.run(self.location) { stores in
            let verifier = ImportVerifier(stores.service)
            var report = Report()
            try await stores.forEachImport { entry in
                guard only.isEmpty || only.contains(entry.id), entry.status == .stored else { return }
                try await self.verify(entry, verifier, stores, &report)
            }
            return report
        }
        let repaired = self.repair ? " The ledger was corrected for \(HumanReadable.count(report.repaired))." : ""
        Terminal.note(
            "\(HumanReadable.count(report.read)) imports read, \(HumanReadable.count(report.damaged)) of them damaged.\(repaired)"
        )
        if report.damaged > 0 {
            throw CommandFailure(.rejected, "\(report.damaged) imports are damaged. The output names them.")
        }
        if report.unrepaired > 0 {
            throw CommandFailure(
                .rejected, "The ledger could not be corrected for \(report.unrepaired) imports. The output names them.")
        }
    }

    private struct Report {
        var read = 0
        var damaged = 0
        var repaired = 0
        var unrepaired = 0
    }

    /// Verifies one import, prints its problems, and with `--repair` corrects the ledger. Adds the outcome to the report.
    /// - Throws: an import error that concerns not only this import.
    private func verify(
        _ entry: Import, _ verifier: ImportVerifier, _ stores: ImportStores, _ report: inout Report
    ) async throws {
        let bar = ProgressBar(
            label: entry.id.rawValue, total: entry.totalRecords, unit: .items("records"), style: self.progress.style)
        let problems: [ImportVerifier.Problem]
        do throws(ImportError) {
            problems = try await verifier.verify(entry) { bar.update($0) }
        } catch {
            bar.clear()
            problems = [.unreadable(try await stores.message(error, of: entry.id))]
        }
        bar.clear()
        report.read += 1
        for problem in problems { try Terminal.show("\(entry.id)  \(problem)") }
        if problems.contains(where: { $0.isDamage }) {
            report.damaged += 1
        } else if self.repair, problems.contains(where: { $0.isRepairable }) {
            try await self.repair(entry, verifier, stores, &report)
        }
    }

    /// Corrects the ledger's row of one import, and adds the outcome to the report.
    private func repair(
        _ entry: Import, _ verifier: ImportVerifier, _ stores: ImportStores, _ report: inout Report
    ) async throws {
        let outcome: ImportVerifier.RepairOutcome
        do throws(ImportError) { outcome = try await verifier.repair(entry) } catch {
            report.unrepaired += 1
            try Terminal.show("\(entry.id)  the ledger was not corrected: \(try await stores.message(error, of: entry.id))")
            return
        }
        switch outcome {
        case .repaired:
            report.repaired += 1
            try Terminal.show("\(entry.id)  the ledger was corrected")
        case .claimedByOther:
            report.unrepaired += 1
            try Terminal.show("\(entry.id)  the ledger was not corrected: another process uses the import. Run this again later")
        }
    }
}
