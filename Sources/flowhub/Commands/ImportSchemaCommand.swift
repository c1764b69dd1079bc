import ArgumentParser
import FlowCore

/// `flowhub import schema`
struct ImportSchemaCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema",
        abstract: "Show which fields an import has, and the types and examples of their values.",
        discussion: """
            For each field: its types and their shares, the share of records in which it is null or missing, the number of \
            distinct values (~ marks an estimate), the text patterns of its strings, and examples. A large import is analyzed \
            by a sample. --json prints the hub's response unchanged, which also has the lengths and ranges of the values.

            EXAMPLES
              flowhub import schema 6f1c…
              flowhub import schema 6f1c… --json | jq '.field_info | keys'

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The import's id.")
    var id: String

    @OptionGroup var options: HubOptions

    func run() async throws {
        let id = try ImportID.argument(self.id)
        try await self.options.withClient { client in
            let body = try await client.json("/v1/imports/\(id)/schema")
            if self.options.json { return try Terminal.show(body.string) }
            try Terminal.show(SchemaTable.text(body, Palette(isOn: Terminal.isColorful), width: Terminal.width))
            Terminal.note(SchemaTable.note(body))
        }
    }
}
