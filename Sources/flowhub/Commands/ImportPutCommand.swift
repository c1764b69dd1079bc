import ArgumentParser
import FlowCore
import Foundation

/// `flowhub import put`
struct ImportPutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put",
        abstract: "Hand a data set in.",
        discussion: """
            Sends FILE as it is, in a stream, and waits until the hub has stored it. Then the import's id is printed, and what \
            became of it is said on standard error; --json prints the hub's whole answer. FILE's format is told by its name \
            (.json .ndjson .jsonl .csv, each also with .gz behind it) or by --format; what is packed with gzip is sent packed.

            It is sent with an idempotency key. So when a connection breaks, it is sent again from the start, and makes one import \
            all the same. Standard input from a pipe cannot be sent twice; - < FILE can.

            When the hub refuses a record, it says where: lines and columns count from 1, records from 0.

            EXAMPLES
              flowhub import put hosts.csv
              flowhub import put hosts.ndjson.gz --flow import-42 --source-type cmdb
              export-hosts --csv | flowhub import put - --name hosts.csv
              id=$(flowhub import put hosts.json --idempotency-key nightly-7)

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The file; - reads standard input.")
    var file: String

    @OptionGroup var options: HubOptions
    @OptionGroup var progress: ProgressOptions

    @Option(help: ArgumentHelp("The flow whose watchers are told how far it is.", valueName: "flow"))
    var flow: String?

    @Option(help: ArgumentHelp("The name that is kept with it. (default: the file's)", valueName: "file-name"))
    var name: String?

    @Option(help: ArgumentHelp("What kind of source it is from: a word of your own.", valueName: "type"))
    var sourceType: String?

    @Option(help: ArgumentHelp("json, ndjson or csv. (default: by the name)", valueName: "format"))
    var format: ImportFileFormat?

    @Option(help: ArgumentHelp("Name this import, so that it is made once. (default: a random one)", valueName: "key"))
    var idempotencyKey: String?

    func run() async throws {
        let format = try self.chosenFormat()
        let target = try self.target()
        let key = try HeaderArgument.checked(self.idempotencyKey, "--idempotency-key") ?? "cli-\(UUID().uuidString)"
        let source = try ImportSource(self.file)
        let bar = ProgressBar(label: "Sending", total: source.length, unit: .bytes, style: self.progress.style)
        // Standard input may come slowly, and then it is not the hub that stalls.
        let stall = source.length == nil ? nil : ImportUpload.stall
        try await self.options.withClient(silence: ImportUpload.silence, stall: stall) { client in
            let upload = ImportUpload(
                client: client, source: source, target: target, contentType: format.contentType, idempotencyKey: key, bar: bar)
            let response: HubClient.Response
            do {
                response = try await upload.run()
            } catch {
                bar.clear()
                throw error
            }
            bar.finish()
            try Self.show(response, json: self.options.json)
        }
    }

    /// Of `POST /v1/imports`.
    func target() throws(CommandFailure) -> String {
        var query: [(name: String, value: String)] = []
        if let flow = self.flow { query.append(("flow_id", try FlowID.argument(flow).rawValue)) }
        if let name = self.fileName {
            guard !name.isEmpty else { throw CommandFailure(.usage, "--name must not be empty.") }
            query.append(("file_name", name))
        }
        if let type = self.sourceType { query.append(("source_type", type)) }
        let text = query.map { "\($0.name)=\(HubURL.encoded($0.value))" }.joined(separator: "&")
        return text.isEmpty ? "/v1/imports" : "/v1/imports?\(text)"
    }

    func chosenFormat() throws(CommandFailure) -> ImportFileFormat {
        if let format = self.format { return format }
        // The name that is kept with it may be any; the file's own says more.
        let names = self.file == "-" ? [self.name] : [self.file, self.name]
        if let format = names.lazy.compactMap({ $0 }).compactMap({ ImportFileFormat(fileName: $0) }).first { return format }
        throw CommandFailure(.usage, "What is in it cannot be told by its name. Give --format json, ndjson or csv.")
    }

    private var fileName: String? {
        self.name ?? (self.file == "-" ? nil : URL(fileURLWithPath: self.file).lastPathComponent)
    }

    private static func show(_ response: HubClient.Response, json: Bool) throws {
        guard let body = try? JSONText(validating: response.body), let id = body.member("id")?.stringValue else {
            throw CommandFailure(.refused, "The answer is not an import. Is --url the address of a FlowHub?")
        }
        if json { return try Terminal.show(body.string) }
        let notes = [response.isReplayed ? "stored before under this key" : "stored", ImportSummary.line(body)]
        Terminal.say(notes.filter { !$0.isEmpty }.joined(separator: ": "))
        try Terminal.show(Terminal.harmless(id))
    }
}
