import ArgumentParser
import FlowCore

/// `flowhub flows`
struct FlowsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows",
        abstract: "List flows, or export and import them.",
        discussion: """
            Without a subcommand, flows are listed. `export` and `import` open a store directly and cover all accounts: the \
            database of DATABASE_URL, or the directory of the embedded store.

            EXAMPLES
              flowhub flows --status running
              flowhub flows export > flows.ndjson
              DATABASE_URL=postgres://hub@db/hub flowhub flows import flows.ndjson

            \(CommandFailure.exitCodes)
            """,
        subcommands: [FlowsListCommand.self, FlowsExportCommand.self, FlowsImportCommand.self],
        defaultSubcommand: FlowsListCommand.self)
}

/// `flowhub flows list`
struct FlowsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the flows that the token may read, with status and version.",
        discussion: """
            Prints the first page of the flows that the token may read. --json prints each page as the hub sent it, one per line.

            EXAMPLES
              flowhub flows --status running
              flowhub flows --all --json | jq -r '.flows[].flow_id'

            \(CommandFailure.exitCodes)
            """)

    @OptionGroup var options: HubOptions

    @Option(help: ArgumentHelp("Only flows with this status.", valueName: "s"))
    var status: String?

    @Flag(help: "List all flows, not only those of the first page.")
    var all = false

    @Option(help: ArgumentHelp("Number of flows per page, 1 to 1000.", valueName: "n"))
    var limit = 100

    func run() async throws {
        guard (1...1000).contains(self.limit) else {
            throw CommandFailure(.usage, "--limit must be from 1 to 1000, not \(self.limit).")
        }
        try await self.options.withClient { client in
            let palette = Palette(isOn: Terminal.isColorful)
            var table = TextTable(["FLOW", "STATUS", "VERSION", "UPDATED"])
            var after: String?
            repeat {
                var target = "/v1/flows?limit=\(self.limit)"
                if let status = self.status { target += "&status=\(HubURL.encoded(status))" }
                if let after { target += "&after=\(HubURL.encoded(after))" }
                let page = try await client.json(target)
                let next = page.member("next").flatMap { $0.isNull ? nil : $0.stringValue ?? $0.string }
                if self.options.json { try Terminal.show(page.string) }
                for flow in page.member("flows")?.elements ?? [] {
                    table.add(["flow_id", "status", "version", "updated_at"].map { flow.cell($0) })
                }
                if next == after { break }
                after = next
            } while self.all && after != nil
            if self.options.json { return }
            try Terminal.show(table.text(palette) { $0 == 1 ? palette.status($1) + $2.dropFirst($1.count) : $2 })
            if after != nil { Terminal.note("More flows exist. Use --all to list them.") }
        }
    }
}
