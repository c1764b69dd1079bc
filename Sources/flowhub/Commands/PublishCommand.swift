import ArgumentParser
import FlowCore
import Foundation
import NIOHTTP1

/// `flowhub publish`
struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Publish events to a flow.",
        discussion: """
            DATA is a JSON document. If it is - or omitted, it is read from standard input; an empty input, or omitting DATA \
            on a terminal, means null. With --ndjson each line of standard input is an event: {"type":…,"data":…}, or only \
            its data if TYPE is given. All lines are one request: either all events are published or none.

            A durable event (the default) is acknowledged when it is stored, and every subscriber receives it. The request has \
            an idempotency key: if the response is lost, the request is repeated without publishing twice.

            EXAMPLES
              flowhub publish import-42 row_failed '{"row":17,"reason":"no date"}'
              flowhub publish import-42 progress '{"percent":40}' --transient
              date +%s | flowhub publish import-42 tick -
              jq -c '.[]' rows.json | flowhub publish import-42 row --ndjson

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow's id.")
    var flow: String

    @Argument(help: "The event type: 1 to 64 characters of A-Za-z0-9_.:-")
    var type: String?

    @Argument(help: "The event's data as JSON; - is standard input.")
    var data: String?

    @OptionGroup var options: HubOptions

    @Flag(help: "Publish a transient event: best effort, to current subscribers, not stored.")
    var transient = false

    @Flag(help: "Publish each line of standard input as an event.")
    var ndjson = false

    @Option(
        help: ArgumentHelp("Idempotency key: requests with the same key take effect once. (default: random)", valueName: "key"))
    var idempotencyKey: String?

    func run() async throws {
        let flow = try FlowID.argument(self.flow)
        let type = try self.eventType()
        if self.transient, self.idempotencyKey != nil {
            throw CommandFailure(
                .usage, "--transient and --idempotency-key cannot be combined: only durable events have an idempotency key.")
        }
        let key = try HeaderArgument.checked(self.idempotencyKey, "--idempotency-key") ?? "cli-\(UUID().uuidString)"
        var request = HubClient.Request(method: .post, target: "/v1/flows/\(flow)/events")
        request.isRetryable = !self.transient
        if !self.transient { request.headers.add(name: "Idempotency-Key", value: key) }
        if self.ndjson {
            guard self.data == nil || self.data == "-" else {
                throw CommandFailure(.usage, "--ndjson reads events from standard input. Omit DATA.")
            }
            request.contentType = "application/x-ndjson"
            request.body = try self.lines(type)
        } else {
            guard let type else {
                throw CommandFailure(.usage, "Missing TYPE, the event type. See flowhub publish --help.")
            }
            request.body = self.event(type, try CommandInput.json(self.data, orElse: .null)).bytes
        }
        let sent = request
        try await self.options.withClient { client in
            let response = try await client.send(sent)
            let body = try? JSONText(validating: response.body)
            if self.options.json {
                try Terminal.show(body?.string ?? "{}")
            } else if let ids = body?.member("ids")?.elements, let last = ids.last {
                try Terminal.show(
                    "\(ids.count) events, last id \(Terminal.sanitized(last.stringValue ?? last.string))")
            } else if let version = body?.member("version")?.intValue {
                let id = body?.member("id")?.stringValue.map { ", id \(Terminal.sanitized($0))" } ?? ""
                try Terminal.show("version \(version)\(id)")
            } else {
                try Terminal.show("sent")
            }
        }
    }

    /// The argument TYPE.
    /// - Returns: `nil` if it is omitted.
    /// - Throws: ``CommandFailure`` of kind `usage` if it is invalid or reserved for the hub.
    private func eventType() throws(CommandFailure) -> EventType? {
        guard let text = self.type else { return nil }
        guard let type = EventType(text) else {
            throw CommandFailure(
                .usage, "Invalid event type \"\(Terminal.sanitized(text))\". Use 1 to 64 characters of A-Za-z0-9_.:-")
        }
        guard !type.isReserved else {
            throw CommandFailure(.usage, "The event type \(type) is reserved for the hub. Use another one.")
        }
        return type
    }

    /// The request body for one event: `{"type":…,"data":…}`, for a transient event also with `"durable":false`.
    private func event(_ type: EventType, _ data: JSONText) -> JSONText {
        JSONText.object { writer in
            writer.key("type")
            writer.value(type.rawValue)
            writer.key("data")
            writer.raw(data)
            if self.transient {
                writer.key("durable")
                writer.value(false)
            }
        }
    }

    /// Reads standard input, and converts each line to the form that the hub expects.
    /// - Parameter type: the type of all events, whose lines contain only data; `nil`: each line has its own type.
    /// - Throws: ``CommandFailure`` of kind `usage` if a line is invalid or there is none.
    private func lines(_ type: EventType?) throws(CommandFailure) -> [UInt8] {
        let input = try CommandInput.bytes("-") ?? []
        var result: [UInt8] = []
        for (index, line) in JSONText.splitLines(input).enumerated() {
            let text: JSONText
            do { text = try JSONText(validating: line) } catch {
                throw CommandFailure(.usage, "Line \(index + 1) of the input: \(error)")
            }
            if let type {
                result.append(contentsOf: self.event(type, text).bytes)
            } else {
                guard let name = text.member("type")?.stringValue, let own = EventType(name) else {
                    throw CommandFailure(
                        .usage, "Line \(index + 1) of the input has no valid \"type\". Pass TYPE if the lines contain only data.")
                }
                let event = self.transient ? self.event(own, text.member("data") ?? .null) : text
                result.append(contentsOf: event.bytes)
            }
            result.append(UInt8(ascii: "\n"))
        }
        guard !result.isEmpty else { throw CommandFailure(.usage, "Standard input contains no events.") }
        return result
    }
}

/// Validation of option values that are sent as HTTP headers.
enum HeaderArgument {
    /// Checks the value of an option. `option`: its name, for the error.
    /// - Returns: the value; `nil` if the option is not given.
    /// - Throws: ``CommandFailure`` of kind `usage` unless the value is 1 to 255 visible ASCII characters.
    static func checked(_ value: String?, _ option: String) throws(CommandFailure) -> String? {
        guard let value else { return nil }
        guard (1...255).contains(value.utf8.count), value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw CommandFailure(.usage, "The value of \(option) must be 1 to 255 visible ASCII characters.")
        }
        return value
    }
}
