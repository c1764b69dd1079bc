import ArgumentParser
import FlowCore
import Foundation
import NIOHTTP1

/// What a change of state may be bound to.
struct WriteConditions: ParsableArguments {
    @Option(help: ArgumentHelp("Only if the state still has this ETag; *: only if the flow exists.", valueName: "etag"))
    var ifMatch: String?

    @Flag(help: "Only if the flow does not exist yet.")
    var createOnly = false

    @Option(
        help: ArgumentHelp(
            "The fencing token of a lock that is held; a younger holder's write makes it fail.", valueName: "resource=n"))
    var fencing: String?

    @Option(help: ArgumentHelp("Name this request, so that it takes effect once. (default: a random one)", valueName: "key"))
    var idempotencyKey: String?

    func headers() throws(CommandFailure) -> WriteHeaders {
        if self.createOnly, self.ifMatch != nil {
            throw CommandFailure(.usage, "--create-only wants no flow and --if-match wants one. Take either.")
        }
        var headers = try WriteHeaders(ifMatch: self.ifMatch, idempotencyKey: self.idempotencyKey)
        if self.createOnly { headers.list.append((name: "If-None-Match", value: "*")) }
        if let fencing = self.fencing {
            let parts = fencing.split(separator: "=", omittingEmptySubsequences: false)
            guard parts.count == 2, Identifier.isValid(parts[0].utf8, maximumLength: 128), let token = Int64(parts[1]), token >= 0
            else { throw CommandFailure(.usage, "--fencing takes RESOURCE=N, with the fencing_token that the lock came with.") }
            headers.list.append((name: "Fencing-Token", value: "\(parts[0])=\(token)"))
        }
        return headers
    }
}

/// The headers of a change.
struct WriteHeaders {
    var list: [(name: String, value: String)] = []

    init(ifMatch: String?, idempotencyKey: String?) throws(CommandFailure) {
        if let etag = try HeaderArgument.checked(ifMatch, "--if-match") {
            self.list.append((name: "If-Match", value: etag == "*" || etag.hasPrefix("\"") ? etag : "\"\(etag)\""))
        }
        // A key of our own makes it safe to ask again when an answer was lost.
        let key = try HeaderArgument.checked(idempotencyKey, "--idempotency-key") ?? "cli-\(UUID().uuidString)"
        self.list.append((name: "Idempotency-Key", value: key))
    }
}

/// A change of state from the command line to what is printed.
enum StateAnswer {
    static func change(
        _ method: HubClient.Method, _ flow: String, _ body: JSONText?, contentType: String = "application/json",
        _ headers: WriteHeaders, _ options: HubOptions
    ) async throws {
        let flow = try FlowID.argument(flow)
        if let body, !body.isObject { throw CommandFailure(.usage, "A flow's state is a JSON object: {…}.") }
        let request = HubClient.Request(
            method: method, target: "/v1/flows/\(flow)/state", headers: headers.list, body: body?.bytes ?? [],
            contentType: contentType)
        try await options.withClient { client in
            try Self.show(try await client.send(request), json: options.json)
        }
    }

    /// The state on standard output, what is known about it on standard error.
    static func show(_ response: HubClient.Response, json: Bool) throws(OutputClosed) {
        guard let body = try? JSONText(validating: response.body) else {
            if json { try Terminal.show("{}") } else { Terminal.say("done") }
            return
        }
        if json { return try Terminal.show(body.string) }
        var notes: [String] = []
        if let version = body.member("version")?.intValue { notes.append("version \(version)") }
        if let status = body.member("status")?.stringValue { notes.append("status \(Terminal.harmless(status))") }
        if let etag = response.headers.first(name: "ETag") { notes.append("ETag \(Terminal.harmless(etag))") }
        if response.isReplayed { notes.append("done before under this key") }
        if !notes.isEmpty { Terminal.say(notes.joined(separator: ", ")) }
        guard let state = body.member("state") else { return }
        // The layout's line breaks are ours; what is dangerous can stand only within a line.
        let lines = state.pretty.split(separator: "\n", omittingEmptySubsequences: false)
        let text = isatty(STDOUT_FILENO) == 1 ? lines.map { Terminal.harmless($0) }.joined(separator: "\n") : state.pretty
        try Terminal.show(text)
    }
}
