import ArgumentParser
import FlowCore
import Foundation
import NIOHTTP1

/// Options for conditions on a state change.
struct WriteConditions: ParsableArguments {
    @Option(help: ArgumentHelp("Only if the state still has this ETag; *: only if the flow exists.", valueName: "etag"))
    var ifMatch: String?

    @Flag(help: "Only if the flow does not exist yet.")
    var createOnly = false

    @Option(
        help: ArgumentHelp(
            "The fencing token of a held lock. The change fails after a newer holder has written.", valueName: "resource=n"))
    var fencing: String?

    @Option(
        help: ArgumentHelp("Idempotency key: requests with the same key take effect once. (default: random)", valueName: "key"))
    var idempotencyKey: String?

    /// Converts the options to request headers.
    /// - Throws: ``CommandFailure`` of kind `usage` if an option is invalid or two cannot be combined.
    func headers() throws(CommandFailure) -> HTTPHeaders {
        if self.createOnly, self.ifMatch != nil {
            throw CommandFailure(.usage, "--create-only and --if-match cannot be combined.")
        }
        var headers = try Self.headers(ifMatch: self.ifMatch, idempotencyKey: self.idempotencyKey)
        if self.createOnly { headers.add(name: "If-None-Match", value: "*") }
        if let fencing = self.fencing {
            let parts = fencing.split(separator: "=", omittingEmptySubsequences: false)
            guard parts.count == 2, Identifier.isValid(parts[0].utf8, maximumLength: 128), let token = Int64(parts[1]), token >= 0
            else { throw CommandFailure(.usage, "--fencing must be RESOURCE=N, where N is the fencing_token of the lock.") }
            headers.add(name: "Fencing-Token", value: "\(parts[0])=\(token)")
        }
        return headers
    }

    /// The request headers that every state change may have.
    static func headers(ifMatch: String?, idempotencyKey: String?) throws(CommandFailure) -> HTTPHeaders {
        var headers = HTTPHeaders()
        if let etag = try HeaderArgument.checked(ifMatch, "--if-match") {
            headers.add(name: "If-Match", value: etag == "*" || etag.hasPrefix("\"") ? etag : "\"\(etag)\"")
        }
        // A generated key makes it safe to repeat the request if its response was lost.
        let key = try HeaderArgument.checked(idempotencyKey, "--idempotency-key") ?? "cli-\(UUID().uuidString)"
        headers.add(name: "Idempotency-Key", value: key)
        return headers
    }
}

/// Sends a state change and prints the response.
enum StateAnswer {
    /// Sends a change of a flow's state and prints the response.
    /// - Parameter body: the state or merge patch; `nil` to delete the flow.
    static func change(
        _ method: HubClient.Method, _ flow: String, _ body: JSONText?, contentType: String = "application/json",
        _ headers: HTTPHeaders, _ options: HubOptions
    ) async throws {
        let flow = try FlowID.argument(flow)
        if let body, !body.isObject { throw CommandFailure(.usage, "A flow's state must be a JSON object: {…}.") }
        let request = HubClient.Request(
            method: method, target: "/v1/flows/\(flow)/state", headers: headers, body: body?.bytes ?? [],
            contentType: contentType)
        try await options.withClient { client in
            try Self.show(try await client.send(request), json: options.json)
        }
    }

    /// Prints the state on standard output, and version, status and ETag on standard error. If the body of the
    /// hub's 2xx response is not JSON, prints only a message that the change succeeded, or `{}` with `json`.
    static func show(_ response: HubClient.Response, json: Bool) throws(OutputClosed) {
        guard let body = try? JSONText(validating: response.body) else {
            if json { try Terminal.show("{}") } else { Terminal.note("The hub accepted the change.") }
            return
        }
        if json { return try Terminal.show(body.string) }
        var notes: [String] = []
        if let version = body.member("version")?.intValue { notes.append("version \(version)") }
        if let status = body.member("status")?.stringValue { notes.append("status \(Terminal.sanitized(status))") }
        if let etag = response.headers.first(name: "ETag") { notes.append("ETag \(Terminal.sanitized(etag))") }
        if response.isReplayed { notes.append("already made by an earlier request with this idempotency key") }
        if !notes.isEmpty { Terminal.note(notes.joined(separator: ", ")) }
        guard let state = body.member("state") else { return }
        // Sanitizes each line separately, to keep the line breaks of the layout.
        let lines = state.pretty.split(separator: "\n", omittingEmptySubsequences: false)
        let text = isatty(STDOUT_FILENO) == 1 ? lines.map { Terminal.sanitized($0) }.joined(separator: "\n") : state.pretty
        try Terminal.show(text)
    }
}
