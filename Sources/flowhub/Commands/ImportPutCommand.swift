import ArgumentParser
import FlowCore
import Foundation

/// `flowhub import put`
struct ImportPutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put",
        abstract: "Upload a data set.",
        discussion: """
            Streams FILE to the hub and waits until it is stored. Prints the import's id, and a summary on standard error; \
            --json prints the hub's whole response instead. The format comes from --format or from the file name (.json \
            .ndjson .jsonl .csv, also followed by .gz). Gzip files are sent compressed.

            The request has an idempotency key. After a broken connection the upload is sent again from the start, and still \
            creates only one import. Standard input from a pipe cannot be sent twice; - < FILE can.

            If the hub rejects a record, the error names its position: lines and columns count from 1, records from 0.

            EXAMPLES
              flowhub import put hosts.csv
              flowhub import put hosts.ndjson.gz --flow import-42 --source-type cmdb
              export-hosts --csv | flowhub import put - --name hosts.csv
              id=$(flowhub import put hosts.json --idempotency-key nightly-7)

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The file to upload; - is standard input.")
    var file: String

    @OptionGroup var options: HubOptions
    @OptionGroup var progress: ProgressOptions

    @Option(help: ArgumentHelp("The flow whose subscribers receive progress and result.", valueName: "flow"))
    var flow: String?

    @Option(help: ArgumentHelp("File name to store with the import. (default: that of FILE)", valueName: "file-name"))
    var name: String?

    @Option(help: ArgumentHelp("Kind of source to store with the import: any text.", valueName: "type"))
    var sourceType: String?

    @Option(help: ArgumentHelp("json, ndjson or csv. (default: from the file name)", valueName: "format"))
    var format: ImportFileFormat?

    @Option(
        help: ArgumentHelp("Idempotency key: uploads with the same key create one import. (default: random)", valueName: "key"))
    var idempotencyKey: String?

    func run() async throws {
        let format = try self.chosenFormat()
        let target = try self.target()
        let key = try HeaderArgument.checked(self.idempotencyKey, "--idempotency-key") ?? "cli-\(UUID().uuidString)"
        let source = try ImportSource(self.file)
        let bar = ProgressBar(label: "Sending", total: source.length, unit: .bytes, style: self.progress.style)
        // The timeout for write progress is for files only: a pipe may make no progress because the program that writes to it
        // is slow.
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

    /// The request target: `/v1/imports` with its query.
    /// - Throws: ``CommandFailure`` of kind `usage` if `--flow` or `--name` is invalid.
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

    /// The format of `--format`, or without it that of the file name.
    /// - Throws: ``CommandFailure`` of kind `usage` if neither names a format.
    func chosenFormat() throws(CommandFailure) -> ImportFileFormat {
        if let format = self.format { return format }
        // The extension of FILE takes precedence over that of --name, which is free text.
        let names = self.file == "-" ? [self.name] : [self.file, self.name]
        if let format = names.lazy.compactMap({ $0 }).compactMap({ ImportFileFormat(fileName: $0) }).first { return format }
        throw CommandFailure(.usage, "The file name does not show the format of the data. Pass --format json, ndjson or csv.")
    }

    private var fileName: String? {
        self.name ?? (self.file == "-" ? nil : URL(fileURLWithPath: self.file).lastPathComponent)
    }

    /// Prints the import's id, and on standard error a summary; or with `json` the hub's whole response.
    private static func show(_ response: HubClient.Response, json: Bool) throws {
        guard let body = try? JSONText(validating: response.body), let id = body.member("id")?.stringValue else {
            throw CommandFailure(.rejected, "The response to the upload is not an import. Check that --url is the hub's.")
        }
        if json { return try Terminal.show(body.string) }
        let notes = [response.isReplayed ? "already stored under this idempotency key" : "stored", ImportSummary.line(body)]
        Terminal.note(notes.filter { !$0.isEmpty }.joined(separator: ": "))
        try Terminal.show(Terminal.sanitized(id))
    }
}
