import ArgumentParser
import FlowCore
import Foundation

/// `flowhub import get`
struct ImportGetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Get the records of an import back.",
        discussion: """
            Writes all records as one JSON array with one record a line, or with --ndjson without the array around them. When all \
            are there, their hash is compared with that of what was handed in; if it differs, the command fails and says so. \
            --raw writes the object as it is stored, packed with gzip, and compares that one's hash.

            With -o the file gets its name only when all of it is there and right; until then, what it held before stays. Without \
            it records go to standard output as they come: look at the exit code before you believe them.

            EXAMPLES
              flowhub import get 6f1c… -o hosts.json
              flowhub import get 6f1c… --ndjson | jq -r .name
              flowhub import get 6f1c… --raw -o hosts.json.gz
              flowhub import get 6f1c… --records 900000:100
              flowhub import get 6f1c… --sample --ndjson

            EXIT CODES: 0 done; 1 the hub said no (4xx), or what came is not what its hash says; 2 wrong usage, or the file cannot \
            be written; 3 the hub could not be reached or failed (5xx) after all attempts; 130 interrupted.
            """)

    @Argument(help: "The import.")
    var id: String

    @OptionGroup var address: HubAddress
    @OptionGroup var progress: ProgressOptions

    @Option(
        name: [.short, .long], help: ArgumentHelp("Where to; - is standard output. (default: standard output)", valueName: "file")
    )
    var output: String?

    @Flag(help: "One record a line, without the array around them.")
    var ndjson = false

    @Option(help: ArgumentHelp("Only so many records, from this one on (the first is 0).", valueName: "offset:limit"))
    var records: String?

    @Flag(help: "Only the first records, which the hub has at hand.")
    var sample = false

    @Flag(help: "The stored object, packed with gzip.")
    var raw = false

    func run() async throws {
        let id = try ImportID.argument(self.id)
        let range = try self.range()
        if self.raw, self.output == nil, isatty(STDOUT_FILENO) == 1 {
            throw CommandFailure(.usage, "What is packed is nothing for a terminal. Name a file with -o.")
        }
        let target = try DownloadTarget(self.output)
        let interrupt = CommandRunner.exitOnInterrupt { target.discard() }
        defer { interrupt.end() }
        do {
            try await self.address.withClient { client in
                if self.sample || range != nil {
                    try await self.part(client, id, range, target)
                } else {
                    try await self.whole(client, id, target)
                }
            }
        } catch {
            target.discard()
            throw error
        }
    }

    func range() throws(CommandFailure) -> RecordRange? {
        if [self.records != nil, self.sample, self.raw].count(where: { $0 }) > 1 {
            throw CommandFailure(.usage, "--records, --sample and --raw are three things. Take one.")
        }
        if self.raw, self.ndjson {
            throw CommandFailure(.usage, "--raw is the object as it is stored, with the array. Leave out --ndjson.")
        }
        guard let text = self.records else { return nil }
        return try RecordRange(text)
    }

    private func whole(_ client: HubClient, _ id: ImportID, _ target: DownloadTarget) async throws {
        let form: ImportDownload.Form = self.raw ? .packed : self.ndjson ? .ndjson : .document
        let download = ImportDownload(client: client, id: id, form: form, target: target, style: self.progress.style)
        let report = try await download.run()
        try target.finish()
        let records = report.records.map { "\(HumanReadable.count($0)) records, " } ?? ""
        let check = report.isVerified ? "the hash agrees" : "NOT VERIFIED: this import has no hash to compare with"
        Terminal.say("\(records)\(HumanReadable.bytes(report.bytes)), \(check)")
    }

    private func part(_ client: HubClient, _ id: ImportID, _ range: RecordRange?, _ target: DownloadTarget) async throws {
        let bar = ProgressBar(label: "Fetching", total: range?.limit, unit: .items("records"), style: self.progress.style)
        defer { bar.clear() }
        let pages = RecordPages(client: client, id: id, isNDJSON: self.ndjson, target: target, bar: bar)
        let count = if let range { try await pages.records(range) } else { try await pages.sample() }
        try target.finish()
        bar.clear()
        Terminal.say("\(HumanReadable.count(count)) records")
    }
}
