import ArgumentParser
import FlowCore

/// `flowhub connections`
struct ConnectionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connections",
        abstract: "List the event streams that watch a flow, on all instances.",
        discussion: """
            EXAMPLES
              flowhub connections import-42
              flowhub connections import-42 --json | jq '.connections | length'

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow's id.")
    var flow: String

    @OptionGroup var options: HubOptions

    func run() async throws {
        let flow = try FlowID.argument(self.flow)
        try await self.options.withClient { client in
            let body = try await client.json("/v1/flows/\(flow)/connections")
            if self.options.json { return try Terminal.show(body.string) }
            var table = TextTable(["CONNECTION", "INSTANCE", "SUBJECT", "SINCE"])
            for connection in body.member("connections")?.elements ?? [] {
                var cells = ["connection_id", "instance", "subject", "registered_at"].map { connection.cell($0) }
                if connection.member("foreign")?.boolValue == true { cells[1] = "(legacy service)" }
                table.add(cells)
            }
            try Terminal.show(table.text(Palette(isOn: Terminal.isColorful)))
        }
    }
}
