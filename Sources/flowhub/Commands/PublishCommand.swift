import ArgumentParser
import FlowCore
import Foundation

/// `flowhub publish`
struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Publish events to a flow.",
        discussion: """
            DATA is a JSON document; - reads it from standard input, and so does leaving it out (an empty input or a terminal \
            there: null). With --ndjson each line of standard input is an event: {"type":…,"data":…}, or only its data where \
            TYPE is given. All lines are one request: either all are published or none.

            A durable event (the default) is acknowledged when it is stored, and reaches every watcher. It is sent with an \
            idempotency key, so that an attempt whose answer was lost can be made again without publishing twice.

            EXAMPLES
              flowhub publish import-42 row_failed '{"row":17,"reason":"no date"}'
              flowhub publish import-42 progress '{"percent":40}' --transient
              date +%s | flowhub publish import-42 tick -
              jq -c '.[]' rows.json | flowhub publish import-42 row --ndjson

            \(CommandFailure.exitCodes)
            """)

    @Argument(help: "The flow.")
    var flow: String

    @Argument(help: "The type of the event: 1 to 64 of A-Za-z0-9_.:-")
    var type: String?

    @Argument(help: "The event's data as JSON, or -.")
    var data: String?

    @OptionGroup var options: HubOptions

    @Flag(help: "Tell it to whoever watches now, and do not keep it.")
    var transient = false

    @Flag(help: "Publish each line of standard input.")
    var ndjson = false

    @Option(help: ArgumentHelp("Name this request, so that it takes effect once. (default: a random one)", valueName: "key"))
    var idempotencyKey: String?

    func run() async throws {
        let flow = try FlowID.argument(self.flow)
        let type = try self.eventType()
        if self.transient, self.idempotencyKey != nil {
            throw CommandFailure(.usage, "A transient event is not kept, and neither is its idempotency key.")
        }
        let key = try HeaderArgument.checked(self.idempotencyKey, "--idempotency-key") ?? "cli-\(UUID().uuidString)"
        var request = HubClient.Request(method: .post, target: "/v1/flows/\(flow)/events")
        request.isRepeatable = !self.transient
        if !self.transient { request.headers.append((name: "Idempotency-Key", value: key)) }
        if self.ndjson {
            guard self.data == nil || self.data == "-" else {
                throw CommandFailure(.usage, "--ndjson reads its events from standard input; leave DATA out.")
            }
            request.contentType = "application/x-ndjson"
            request.body = try self.lines(type)
        } else {
            guard let type else { throw CommandFailure(.usage, "TYPE is missing. See flowhub publish --help.") }
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
                    "\(ids.count) events, the last one with id \(Terminal.harmless(last.stringValue ?? last.string))")
            } else if let version = body?.member("version")?.intValue {
                let id = body?.member("id")?.stringValue.map { ", id \(Terminal.harmless($0))" } ?? ""
                try Terminal.show("version \(version)\(id)")
            } else {
                try Terminal.show("sent")
            }
        }
    }

    private func eventType() throws(CommandFailure) -> EventType? {
        guard let text = self.type else { return nil }
        guard let type = EventType(text) else {
            throw CommandFailure(.usage, "\"\(Terminal.harmless(text))\" is no type of events: take 1 to 64 of A-Za-z0-9_.:-")
        }
        guard !type.isReserved else {
            throw CommandFailure(.usage, "Events of type \(type) are the hub's own. Take another name.")
        }
        return type
    }

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

    private func lines(_ type: EventType?) throws(CommandFailure) -> [UInt8] {
        let input = try CommandInput.bytes("-") ?? []
        var result: [UInt8] = []
        for (index, line) in JSONText.splitLines(input).enumerated() {
            let text: JSONText
            do { text = try JSONText(validating: line) } catch { throw CommandFailure(.usage, "Line \(index + 1): \(error)") }
            if let type {
                result.append(contentsOf: self.event(type, text).bytes)
            } else {
                guard let name = text.member("type")?.stringValue, let own = EventType(name) else {
                    throw CommandFailure(.usage, "Line \(index + 1) has no valid \"type\". Give TYPE if the lines are only data.")
                }
                let event = self.transient ? self.event(own, text.member("data") ?? .null) : text
                result.append(contentsOf: event.bytes)
            }
            result.append(UInt8(ascii: "\n"))
        }
        guard !result.isEmpty else { throw CommandFailure(.usage, "Standard input has no events.") }
        return result
    }
}

/// Option values that become HTTP headers.
enum HeaderArgument {
    static func checked(_ value: String?, _ option: String) throws(CommandFailure) -> String? {
        guard let value else { return nil }
        guard (1...255).contains(value.utf8.count), value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw CommandFailure(.usage, "\(option) takes 1 to 255 visible ASCII characters.")
        }
        return value
    }
}
