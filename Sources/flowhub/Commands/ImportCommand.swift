import ArgumentParser

/// `flowhub import`
struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Hand data sets to the hub, list them, and get them back.",
        discussion: """
            A data set is a JSON array, NDJSON or CSV, plain or packed with gzip, of any size. The hub stores it packed, with one \
            record a line, tells the watchers of a flow how far it is, and gives it back whole, in part, or as a schema.

            A hub with keys wants a token with the scope imports.

            EXAMPLES
              flowhub import put hosts.csv --flow import-42
              zcat hosts.json.gz | jq -c '.[]' | flowhub import put - --format ndjson
              flowhub import ls --status stored
              flowhub import get 6f1c… -o hosts.json
              flowhub import get 6f1c… --records 900000:100 --ndjson
              flowhub import schema 6f1c…

            \(CommandFailure.exitCodes)
            """,
        subcommands: [
            ImportPutCommand.self, ImportGetCommand.self, ImportListCommand.self, ImportRemoveCommand.self,
            ImportSchemaCommand.self,
        ])
}
