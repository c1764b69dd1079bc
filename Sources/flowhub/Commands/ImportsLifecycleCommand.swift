import ArgumentParser
import FlowCore

/// `flowhub imports lifecycle`
struct ImportsLifecycleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lifecycle",
        abstract: "Show or set the bucket's lifecycle rules for imports.",
        discussion: """
            Without options, prints the bucket's rules. With options, sets one rule for everything under imports/ and replaces \
            the rule of an earlier call; other rules stay. The credentials must be allowed to administer the bucket.

            An import whose object has expired stays in the list of imports; flowhub imports sweep reports it.

            EXAMPLES
              flowhub imports lifecycle
              flowhub imports lifecycle --infrequent-after 30 --expire-after 365
              flowhub imports lifecycle --clear

            EXIT CODES: 0 success; 2 invalid usage; 3 the object store failed or rejected the request; 130 interrupted.
            """)

    private static let id = "flowhub-imports"
    private static let prefix = "imports/"

    @Option(help: ArgumentHelp("Days after which imports move to the storage class for infrequent access.", valueName: "days"))
    var infrequentAfter: Int?

    @Option(help: ArgumentHelp("Days after which the objects of imports are deleted.", valueName: "days"))
    var expireAfter: Int?

    @Option(help: ArgumentHelp("Days after which unfinished uploads are aborted.", valueName: "days"))
    var abortAfter: Int?

    @Flag(help: "Remove the rule that an earlier call of this command has set.")
    var clear = false

    @OptionGroup var location: StoreLocation

    func validate() throws {
        for days in [self.infrequentAfter, self.expireAfter, self.abortAfter].compactMap({ $0 })
        where !(1...36_500).contains(days) {
            throw ValidationError(
                "--infrequent-after, --expire-after and --abort-after must be from 1 to 36500 days, not \(days).")
        }
        if self.clear, self.isSetting {
            throw ValidationError("--clear cannot be combined with --infrequent-after, --expire-after or --abort-after.")
        }
    }

    private var isSetting: Bool { self.infrequentAfter != nil || self.expireAfter != nil || self.abortAfter != nil }

    func run() async throws {
        let rules = try await ImportStores.run(self.location) { stores in
            guard let objectMaintenance = stores.objectMaintenance else {
                throw CommandFailure(.usage, "No object store is configured. Set R2_BUCKET_NAME and the other R2 settings.")
            }
            do throws(ObjectError) {
                var rules = try await objectMaintenance.lifecycleRules()
                guard self.clear || self.isSetting else { return rules }
                rules.removeAll { $0.id == Self.id }
                if self.isSetting {
                    rules.append(
                        LifecycleRule(
                            id: Self.id, prefix: Self.prefix, infrequentAccessDays: self.infrequentAfter,
                            expirationDays: self.expireAfter, abortUploadDays: self.abortAfter))
                }
                try await objectMaintenance.setLifecycleRules(rules)
                return rules
            } catch {
                throw ImportError.objects(error)
            }
        }
        var table = TextTable(["RULE", "PREFIX", "ENABLED", "INFREQUENT AFTER", "EXPIRE AFTER", "ABORT UPLOADS AFTER"])
        /// A cell with a number of days; `-` for `nil`, which means never.
        func days(_ count: Int?) -> String { count.map { "\($0) days" } ?? "-" }
        for rule in rules {
            table.add([
                Terminal.sanitized(rule.id), Terminal.sanitized(rule.prefix), rule.isEnabled ? "yes" : "no",
                days(rule.infrequentAccessDays), days(rule.expirationDays), days(rule.abortUploadDays),
            ])
        }
        try Terminal.show(table.text(Palette(isOn: Terminal.isColorful)))
    }
}
