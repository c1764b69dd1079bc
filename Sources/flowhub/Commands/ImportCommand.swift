import ArgumentParser

/// `flowhub import`
struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Upload, list and download imports.",
        discussion: """
            An import is an uploaded data set: a JSON array, NDJSON or CSV, plain or compressed with gzip. While the hub \
            stores it, the subscribers of its flow receive progress events. The hub returns all records, a range of them, or \
            an analysis of their fields.

            If the hub requires tokens, the token needs the scope imports.

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
