import ArgumentParser
import FlowCore

/// `flowhub imports verify`
struct ImportsVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read imports completely, and compare their counts and hashes with the import ledger.",
        discussion: """
            Prints one line per problem. Database rows of an import that its object does not contain are listed, but are no \
            damage.

            EXAMPLES
              flowhub imports verify
              flowhub imports verify 6f1c…

            EXIT CODES: 0 no import is damaged; 1 at least one import is damaged, and is named; 2 invalid usage; 3 a store \
            failed; 130 interrupted.
            """)

    @OptionGroup var progress: ProgressOptions
    @OptionGroup var location: StoreLocation

    @Argument(help: "The ids of the imports to verify. (default: all)")
    var ids: [String] = []

    func run() async throws {
        let only = try Set(self.ids.map { try ImportID.argument($0) })
        let (count, wrong) = try await ImportStores.run(self.location) { stores in
            let verifier = ImportVerifier(stores.service)
            var (count, wrong) = (0, 0)
            try await stores.forEachImport { entry in
                guard only.isEmpty || only.contains(entry.id), entry.status == .stored else { return }
                let bar = ProgressBar(
                    label: entry.id.rawValue, total: entry.totalRecords, unit: .items("records"), style: self.progress.style)
                let problems = try await verifier.verify(entry) { bar.update($0) }
                bar.clear()
                count += 1
                for problem in problems { try Terminal.show("\(entry.id)  \(problem)") }
                // Not counted: rows in the database that the object does not contain. The object is intact without them.
                if problems.contains(where: { $0.isDamage }) { wrong += 1 }
            }
            return (count, wrong)
        }
        Terminal.note("\(HumanReadable.count(count)) imports read, \(HumanReadable.count(wrong)) of them damaged.")
        if wrong > 0 { throw CommandFailure(.rejected, "\(wrong) imports are damaged. The output names them.") }
    }
}
