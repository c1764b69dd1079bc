import ArgumentParser
import FlowCore

/// `flowhub history`
struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Print the durable events of a flow.",
        discussion: """
            Prints one event a line; --json prints the hub's answer as it is.

            EXAMPLES
              flowhub history import-42 --limit 20
              flowhub history import-42 --after 17 --json | jq .

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow.")
    var flow: String

    @OptionGroup var options: HubOptions

    @Option(help: ArgumentHelp("Begin after this version.", valueName: "n"))
    var after: Int64?

    @Option(help: ArgumentHelp("Events at most.", valueName: "n"))
    var limit = 100

    func run() async throws {
        let flow = try FlowID.argument(self.flow)
        guard (1...1000).contains(self.limit) else { throw CommandFailure(.usage, "--limit takes 1 to 1000.") }
        guard (self.after ?? 0) >= 0 else { throw CommandFailure(.usage, "--after takes a version: 0 or more.") }
        let target = "/v1/flows/\(flow)/history?limit=\(self.limit)" + (self.after.map { "&after=\($0)" } ?? "")
        try await self.options.withClient { client in
            let body = try await client.json(target)
            if self.options.json { return try Terminal.show(body.string) }
            var printer = EventPrinter(
                json: false, palette: Palette(isOn: Terminal.isColourful), namesFlow: false, width: Terminal.width)
            for event in body.isArray ? body.elements : body.member("events")?.elements ?? [] {
                let type = event.member("type")?.stringValue ?? "?"
                let shown = ServerEvent(type: type, data: event.string, id: "")
                try Terminal.show(Array(printer.text(of: shown, now: Timestamp(milliseconds: 0)).utf8))
            }
            if let next = body.member("next"), !next.isNull {
                Terminal.say("There are more: --after \(Terminal.harmless(next.stringValue ?? next.string))")
            }
        }
    }
}

/// `flowhub connections`
struct ConnectionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connections",
        abstract: "List who watches a flow, on all instances.",
        discussion: """
            EXAMPLES
              flowhub connections import-42
              flowhub connections import-42 --json | jq '.connections | length'

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow.")
    var flow: String

    @OptionGroup var options: HubOptions

    func run() async throws {
        let flow = try FlowID.argument(self.flow)
        try await self.options.withClient { client in
            let body = try await client.json("/v1/flows/\(flow)/connections")
            if self.options.json { return try Terminal.show(body.string) }
            var table = TextTable(["CONNECTION", "INSTANCE", "SUBJECT", "SINCE"])
            for connection in body.member("connections")?.elements ?? [] {
                table.add(["connection_id", "instance", "subject", "registered_at"].map { connection.cell($0) })
            }
            try Terminal.show(table.text(Palette(isOn: Terminal.isColourful)))
        }
    }
}

/// `flowhub disconnect`
struct DisconnectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disconnect",
        abstract: "End a connection.",
        discussion: """
            ID is a connection_id of flowhub connections. It is not a ban: a browser may come back. To keep somebody out, \
            revoke the subject's tokens.

            EXAMPLES
              flowhub disconnect hub-1.4711

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The connection.")
    var id: String

    @OptionGroup var options: HubOptions

    func run() async throws {
        guard Identifier.isValid(self.id.utf8, maximumLength: 256) else {
            throw CommandFailure(.usage, "That is no connection. flowhub connections FLOW lists them.")
        }
        try await self.options.withClient { client in
            let request = HubClient.Request(method: .delete, target: "/v1/connections/\(self.id)", isRepeatable: false)
            let response = try await client.send(request)
            if self.options.json, let body = try? JSONText(validating: response.body) { return try Terminal.show(body.string) }
            if !self.options.json { Terminal.say("disconnected") }
        }
    }
}

extension HubClient {
    /// A GET whose answer is JSON.
    func json(_ target: String) async throws -> JSONText {
        let body = try await self.send(Request(method: .get, target: target)).body
        do { return try JSONText(validating: body) } catch {
            throw CommandFailure(.refused, "The answer is not JSON. Is --url the address of a FlowHub?")
        }
    }
}

extension JSONText {
    /// A member as a table shows it.
    func cell(_ name: String) -> String {
        guard let value = self.member(name), !value.isNull else { return "-" }
        return Terminal.harmless(value.stringValue ?? value.string)
    }
}
