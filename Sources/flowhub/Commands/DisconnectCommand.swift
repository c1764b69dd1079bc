import ArgumentParser
import FlowCore

/// `flowhub disconnect`
struct DisconnectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disconnect",
        abstract: "Close one event stream of the hub.",
        discussion: """
            ID is a connection_id from flowhub connections. The client may reconnect. To prevent that, revoke the tokens of \
            its subject.

            EXAMPLES
              flowhub disconnect hub-1.4711

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The stream's connection_id.")
    var id: String

    @OptionGroup var options: HubOptions

    func run() async throws {
        guard Identifier.isValid(self.id.utf8, maximumLength: 256) else {
            throw CommandFailure(
                .usage,
                "Invalid connection id \"\(Terminal.sanitized(self.id))\". `flowhub connections FLOW` lists the ids of a flow.")
        }
        try await self.options.withClient { client in
            let request = HubClient.Request(method: .delete, target: "/v1/connections/\(self.id)", isRetryable: false)
            let response = try await client.send(request)
            if self.options.json, let body = try? JSONText(validating: response.body) { return try Terminal.show(body.string) }
            if !self.options.json { Terminal.note("The hub closed the stream \(self.id).") }
        }
    }
}
