import ArgumentParser
import FlowCore
import Foundation

/// `flowhub import get`
struct ImportGetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Download the records of an import.",
        discussion: """
            Writes all records as one JSON array with one record per line; --ndjson omits the array. Then the hash of the \
            records is compared with the import's content hash, which the hub computed during the upload. If they differ, the \
            command fails. --raw writes the stored object, compressed with gzip, and compares its hash.

            With -o the file is created or replaced only after the download is complete and the comparison has not failed. \
            Without -o, records go to standard output as they arrive: check the exit code before you use them.

            EXAMPLES
              flowhub import get 6f1c… -o hosts.json
              flowhub import get 6f1c… --ndjson | jq -r .name
              flowhub import get 6f1c… --raw -o hosts.json.gz
              flowhub import get 6f1c… --records 900000:100
              flowhub import get 6f1c… --sample --ndjson

            EXIT CODES: 0 success; 1 rejected by the hub (4xx), or hash mismatch; 2 invalid usage, or the output cannot be \
            written; 3 hub unreachable or 5xx after all attempts; 4 conflict (409), for example an import that is not stored \
            yet; 130 interrupted.
            """)

    @Argument(help: "The import's id.")
    var id: String

    @OptionGroup var address: HubAddress
    @OptionGroup var progress: ProgressOptions

    @Option(
        name: [.short, .long],
        help: ArgumentHelp("Output file; - is standard output. (default: standard output)", valueName: "file")
    )
    var output: String?

    @Flag(help: "Write one record per line, without an array.")
    var ndjson = false

    @Option(help: ArgumentHelp("Only a range: number of the first record (from 0) and how many.", valueName: "offset:limit"))
    var records: String?

    @Flag(help: "Only the sample: the first 100 records, or fewer if they exceed 8 MiB.")
    var sample = false

    @Flag(help: "Write the stored object, compressed with gzip.")
    var raw = false

    func run() async throws {
        let id = try ImportID.argument(self.id)
        let range = try self.range()
        if self.raw, self.output == nil, isatty(STDOUT_FILENO) == 1 {
            throw CommandFailure(.usage, "--raw does not write gzip data to a terminal. Name an output file with -o.")
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

    /// Checks that the options can be combined, and parses `--records`.
    /// - Returns: `nil` without `--records`.
    /// - Throws: ``CommandFailure`` of kind `usage`.
    func range() throws(CommandFailure) -> RecordRange? {
        if [self.records != nil, self.sample, self.raw].count(where: { $0 }) > 1 {
            throw CommandFailure(.usage, "--records, --sample and --raw are mutually exclusive.")
        }
        if self.raw, self.ndjson {
            throw CommandFailure(.usage, "--raw and --ndjson cannot be combined: the stored object is a JSON array, not NDJSON.")
        }
        guard let text = self.records else { return nil }
        return try RecordRange(text)
    }

    /// Downloads all records or the stored object, verifies the hash, and prints a summary.
    private func whole(_ client: HubClient, _ id: ImportID, _ target: DownloadTarget) async throws {
        let form: ImportDownload.Form = self.raw ? .compressed : self.ndjson ? .ndjson : .document
        let download = ImportDownload(client: client, id: id, form: form, target: target, style: self.progress.style)
        let report = try await download.run()
        try target.finish()
        let records = report.records.map { "\(HumanReadable.count($0)) records, " } ?? ""
        let check = report.isVerified ? "hash verified" : "NOT VERIFIED: the import has no hash"
        Terminal.note("downloaded \(records)\(HumanReadable.bytes(report.bytes)), \(check)")
    }

    /// Downloads a range of records, or the sample if `range` is `nil`, and prints the number of records.
    private func part(_ client: HubClient, _ id: ImportID, _ range: RecordRange?, _ target: DownloadTarget) async throws {
        let bar = ProgressBar(label: "Fetching", total: range?.limit, unit: .items("records"), style: self.progress.style)
        defer { bar.clear() }
        let pages = RecordPages(client: client, id: id, isNDJSON: self.ndjson, target: target, bar: bar)
        let count = if let range { try await pages.records(range) } else { try await pages.sample() }
        try target.finish()
        bar.clear()
        Terminal.note("downloaded \(HumanReadable.count(count)) records")
    }
}
