import ArgumentParser
import FlowCore

/// `flowhub imports lifecycle`
struct ImportsLifecycleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lifecycle",
        abstract: "Show or set what the bucket does with old imports by itself.",
        discussion: """
            Without options it shows the bucket's rules. With options it sets one rule for everything under imports/, in place of the \
            one that it set before; other rules stay. It needs credentials that may administer the bucket.

            Expired objects leave their imports in the ledger; flowhub imports sweep names them.

            EXAMPLES
              flowhub imports lifecycle
              flowhub imports lifecycle --infrequent-after 30 --expire-after 365
              flowhub imports lifecycle --clear

            EXIT CODES: 0 done; 2 wrong usage; 3 the object store failed or refused; 130 interrupted.
            """)

    private static let id = "flowhub-imports"
    private static let prefix = "imports/"

    @Option(help: ArgumentHelp("Days after which imports move to infrequent access.", valueName: "days"))
    var infrequentAfter: Int?

    @Option(help: ArgumentHelp("Days after which imports are deleted.", valueName: "days"))
    var expireAfter: Int?

    @Option(help: ArgumentHelp("Days after which unfinished uploads are given up.", valueName: "days"))
    var abortAfter: Int?

    @Flag(help: "Take the hub's rule away.")
    var clear = false

    @OptionGroup var location: StoreLocation

    func validate() throws {
        for days in [self.infrequentAfter, self.expireAfter, self.abortAfter].compactMap({ $0 })
        where !(1...36_500).contains(days) {
            throw ValidationError("A number of days is 1 to 36500.")
        }
        if self.clear, self.isSetting { throw ValidationError("--clear goes alone.") }
    }

    private var isSetting: Bool { self.infrequentAfter != nil || self.expireAfter != nil || self.abortAfter != nil }

    func run() async throws {
        let rules = try await ImportStores.run(self.location) { stores in
            guard let housekeeping = stores.housekeeping else {
                throw CommandFailure(.usage, "There is no object store. Set R2_BUCKET_NAME and the other R2 settings.")
            }
            do throws(ObjectError) {
                var rules = try await housekeeping.lifecycleRules()
                guard self.clear || self.isSetting else { return rules }
                rules.removeAll { $0.id == Self.id }
                if self.isSetting {
                    rules.append(
                        LifecycleRule(
                            id: Self.id, prefix: Self.prefix, infrequentAccessDays: self.infrequentAfter,
                            expirationDays: self.expireAfter, abortUploadDays: self.abortAfter))
                }
                try await housekeeping.setLifecycleRules(rules)
                return rules
            } catch {
                throw ImportError.objects(error)
            }
        }
        var table = TextTable(["RULE", "PREFIX", "ENABLED", "INFREQUENT AFTER", "EXPIRE AFTER", "ABORT UPLOADS AFTER"])
        func days(_ count: Int?) -> String { count.map { "\($0) days" } ?? "-" }
        for rule in rules {
            table.add([
                Terminal.harmless(rule.id), Terminal.harmless(rule.prefix), rule.isEnabled ? "yes" : "no",
                days(rule.infrequentAccessDays), days(rule.expirationDays), days(rule.abortUploadDays),
            ])
        }
        try Terminal.show(table.text(Palette(isOn: Terminal.isColourful)))
    }
}
