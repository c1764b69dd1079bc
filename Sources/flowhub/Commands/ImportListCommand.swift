import ArgumentParser
import FlowCore

/// `flowhub import ls`
struct ImportListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List imports with their status, number of records, size and flow.",
        discussion: """
            SIZE is the size of an import in the store. --json prints the hub's response unchanged.

            EXAMPLES
              flowhub import ls --flow import-42
              flowhub import ls --status failed --json | jq -r '.imports[].failure'
              flowhub import ls --limit 1000 --after 6f1c…

            \(CommandFailure.exitCodes)
            """)

    @OptionGroup var options: HubOptions

    @Option(help: ArgumentHelp("Only imports of this flow.", valueName: "flow"))
    var flow: String?

    @Option(help: ArgumentHelp("Only imports with this status: pending, stored or failed.", valueName: "s"))
    var status: String?

    @Option(help: ArgumentHelp("Maximum number of imports.", valueName: "n"))
    var limit = 100

    @Option(help: ArgumentHelp("Start after the import with this id; the previous list page names it.", valueName: "id"))
    var after: String?

    func run() async throws {
        let target = try self.target()
        try await self.options.withClient { client in
            let body = try await client.json(target)
            if self.options.json { return try Terminal.show(body.string) }
            try Terminal.show(Self.table(body, Palette(isOn: Terminal.isColorful)))
            if let next = body.member("next"), !next.isNull {
                Terminal.note("More imports exist. Continue with --after \(Terminal.sanitized(next.stringValue ?? next.string))")
            }
        }
    }

    /// The request target: `/v1/imports` with the options as query.
    /// - Throws: ``CommandFailure`` of kind `usage` if an option is invalid.
    func target() throws(CommandFailure) -> String {
        guard (1...1000).contains(self.limit) else {
            throw CommandFailure(.usage, "--limit must be from 1 to 1000, not \(self.limit).")
        }
        var target = "/v1/imports?limit=\(self.limit)"
        if let flow = self.flow { target += "&flow_id=\(try FlowID.argument(flow))" }
        if let text = self.status {
            guard let status = Import.Status(rawValue: text), status != .deleting else {
                throw CommandFailure(.usage, "--status must be pending, stored or failed, not \"\(Terminal.sanitized(text))\".")
            }
            target += "&status=\(status.rawValue)"
        }
        if let after = self.after { target += "&after=\(HubURL.encoded(after))" }
        return target
    }

    /// Formats the hub's JSON list of imports as a table for the terminal.
    static func table(_ body: JSONText, _ palette: Palette) -> String {
        var table = TextTable(["ID", "STATUS", "RECORDS", "SIZE", "FLOW", "FILE", "CREATED"])
        for item in body.member("imports")?.elements ?? [] {
            let records = item.member("total_records")?.intValue.map { HumanReadable.count(Int($0)) }
            let size = item.member("storage_metadata")?.member("size_bytes")?.intValue.map { HumanReadable.bytes(Int($0)) }
            table.add([
                item.cell("id"), item.cell("status"), records ?? "-", size ?? "-", item.cell("flow_id"), item.cell("file_name"),
                item.cell("created_at"),
            ])
        }
        return table.text(palette) { $0 == 1 ? Self.painted($1, palette) + $2.dropFirst($1.count) : $2 }
    }

    /// The status of an import in its color.
    private static func painted(_ status: String, _ palette: Palette) -> String {
        switch Import.Status(rawValue: status) {
        case .stored: palette.green(status)
        case .failed: palette.red(status)
        case .pending, .deleting, nil: palette.cyan(status)
        }
    }
}
