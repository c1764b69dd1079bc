import ArgumentParser
import FlowCore

/// `flowhub import schema`
struct ImportSchemaCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema",
        abstract: "Show what the fields of an import hold.",
        discussion: """
            For each field: its types with their shares, the share of records in which it is null or missing, an estimate of how \
            many different values it has, the pattern that its text keeps to, and examples. A large import is judged by a sample. \
            --json prints the hub's answer as it is, with lengths and ranges.

            EXAMPLES
              flowhub import schema 6f1c…
              flowhub import schema 6f1c… --json | jq '.field_info | keys'

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The import.")
    var id: String

    @OptionGroup var options: HubOptions

    func run() async throws {
        let id = try ImportID.argument(self.id)
        try await self.options.withClient { client in
            let body = try await client.json("/v1/imports/\(id)/schema")
            if self.options.json { return try Terminal.show(body.string) }
            try Terminal.show(SchemaTable.text(body, Palette(isOn: Terminal.isColourful), width: Terminal.width))
            Terminal.say(SchemaTable.note(body))
        }
    }
}
