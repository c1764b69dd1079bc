import ArgumentParser
import FlowCore
import Foundation

/// `flowhub state`
struct StateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "state",
        abstract: "Read and change the state of a flow.",
        discussion: """
            The state is a JSON object. Its member status is the flow's status; completed, failed and cancelled are terminal.

            EXAMPLES
              flowhub state get import-42
              flowhub state patch import-42 '{"status":"running","rows":10}'
              flowhub state put import-42 - --create-only < state.json
              flowhub state patch import-42 '{"rows":11}' --if-match 1k.x7f3-8
              flowhub state delete import-42

            \(CommandFailure.exitCodes)
            """,
        subcommands: [StateGetCommand.self, StatePatchCommand.self, StatePutCommand.self, StateDeleteCommand.self])
}

/// `flowhub state get`
struct StateGetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Print a flow's state.",
        discussion: """
            Prints the state, and on standard error version, status and the ETag for --if-match. --json prints the hub's whole \
            response instead.

            EXAMPLES
              flowhub state get import-42
              flowhub state get import-42 --json | jq .version

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow's id.")
    var flow: String

    @OptionGroup var options: HubOptions

    func run() async throws {
        let flow = try FlowID.argument(self.flow)
        try await self.options.withClient { client in
            let request = HubClient.Request(method: .get, target: "/v1/flows/\(flow)/state")
            try StateAnswer.show(try await client.send(request), json: self.options.json)
        }
    }
}

/// `flowhub state patch`
struct StatePatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "patch",
        abstract: "Change members of a flow's state.",
        discussion: """
            JSON is a merge patch (RFC 7396): its members replace those of the state, null removes a member, and objects are \
            merged. A flow that does not exist is created. If JSON is - or omitted, it is read from standard input.

            EXAMPLES
              flowhub state patch import-42 '{"status":"running","rows":10,"error":null}'
              flowhub state patch import-42 '{"status":"completed"}' --fencing import-42-writer=7

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow's id.")
    var flow: String

    @Argument(help: "The merge patch; - is standard input.")
    var json: String?

    @OptionGroup var options: HubOptions
    @OptionGroup var conditions: WriteConditions

    func run() async throws {
        try await StateAnswer.change(
            .patch, self.flow, try CommandInput.json(self.json), contentType: "application/merge-patch+json",
            try self.conditions.headers(), self.options)
    }
}

/// `flowhub state put`
struct StatePutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put",
        abstract: "Replace a flow's whole state.",
        discussion: """
            A flow that does not exist is created. If JSON is - or omitted, it is read from standard input.

            EXAMPLES
              flowhub state put import-42 '{"status":"running","rows":0}' --create-only
              flowhub state get import-42 | jq '.rows += 1' | flowhub state put import-42 - --if-match 1k.x7f3-8

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow's id.")
    var flow: String

    @Argument(help: "The new state; - is standard input.")
    var json: String?

    @OptionGroup var options: HubOptions
    @OptionGroup var conditions: WriteConditions

    func run() async throws {
        try await StateAnswer.change(
            .put, self.flow, try CommandInput.json(self.json), try self.conditions.headers(), self.options)
    }
}

/// `flowhub state delete`
struct StateDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete a flow.",
        discussion: """
            Subscribers receive flow_deleted, and their streams of this flow end. Versions are not reused: a flow that is \
            created later under this id continues with the next version.

            EXAMPLES
              flowhub state delete import-42
              flowhub state delete import-42 --if-match 1k.x7f3-8

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow's id.")
    var flow: String

    @OptionGroup var options: HubOptions

    @Option(help: ArgumentHelp("Delete only if the state still has this ETag.", valueName: "etag"))
    var ifMatch: String?

    @Option(
        help: ArgumentHelp("Idempotency key: requests with the same key take effect once. (default: random)", valueName: "key"))
    var idempotencyKey: String?

    func run() async throws {
        let headers = try WriteConditions.headers(ifMatch: self.ifMatch, idempotencyKey: self.idempotencyKey)
        try await StateAnswer.change(.delete, self.flow, nil, headers, self.options)
    }
}
