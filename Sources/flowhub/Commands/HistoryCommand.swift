import ArgumentParser
import FlowCore

/// `flowhub history`
struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Print the durable events of a flow.",
        discussion: """
            Prints one event per line. --json prints the hub's response unchanged.

            EXAMPLES
              flowhub history import-42 --limit 20
              flowhub history import-42 --after 17 --json | jq .

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow's id.")
    var flow: String

    @OptionGroup var options: HubOptions

    @Option(help: ArgumentHelp("Print only events with a version above this one.", valueName: "n"))
    var after: Int64?

    @Option(help: ArgumentHelp("Maximum number of events.", valueName: "n"))
    var limit = 100

    func run() async throws {
        let flow = try FlowID.argument(self.flow)
        guard (1...1000).contains(self.limit) else {
            throw CommandFailure(.usage, "--limit must be from 1 to 1000, not \(self.limit).")
        }
        guard (self.after ?? 0) >= 0 else { throw CommandFailure(.usage, "--after must be a version, 0 or higher.") }
        let target = "/v1/flows/\(flow)/history?limit=\(self.limit)" + (self.after.map { "&after=\($0)" } ?? "")
        try await self.options.withClient { client in
            let body = try await client.json(target)
            if self.options.json { return try Terminal.show(body.string) }
            var printer = EventPrinter(
                json: false, palette: Palette(isOn: Terminal.isColorful), namesFlow: false, width: Terminal.width)
            for event in body.isArray ? body.elements : body.member("events")?.elements ?? [] {
                let type = event.member("type")?.stringValue ?? "?"
                let shown = ServerEvent(type: type, data: event.string, id: "")
                try Terminal.show(Array(printer.text(of: shown, now: Timestamp(milliseconds: 0)).utf8))
            }
            if let next = body.member("next"), !next.isNull {
                Terminal.note("More events exist. Continue with --after \(Terminal.sanitized(next.stringValue ?? next.string))")
            }
        }
    }
}
