public import FlowCore
import Synchronization

/// One block of an event stream as received: the lines between two empty lines.
public struct EventBlock: Sendable {
    /// The `id:` line; `nil` if there was none.
    public var id: String?
    /// `message` if the block names no event.
    public var event = "message"
    /// The `data:` lines; `nil` if there were none, and then a browser fires no event.
    public var data: String?
    /// The `retry:` line, in milliseconds.
    public var retry: Int?
    /// Index of the subscriber's connection that received the block: 0, 1, 2 …
    public var connection = 0
    /// Time of receipt.
    public var at = ContinuousClock.now

    /// The value of ``json``, shared by the copies of a block.
    private let parsed = Parsed()

    public init() {}

    private final class Parsed: Sendable {
        let value = Mutex<JSONText?>(nil)
    }

    /// The data as JSON; `null` if it is not JSON. Parsed once, when it is first needed: a stream of many flows has many blocks.
    public var json: JSONText {
        self.parsed.value.withLock { value in
            if let value { return value }
            let json = self.data.flatMap { try? JSONText(validating: Array($0.utf8)) } ?? .null
            value = json
            return json
        }
    }
    public var flow: String? { self.json.member("flow_id")?.stringValue }
    public var version: Version? { self.json.member("version")?.intValue }
}

extension EventBlock: CustomStringConvertible {
    public var description: String {
        var parts: [String] = []
        if let id = self.id { parts.append("id: \(id)") }
        if let data = self.data { parts.append("event: \(self.event) data: \(data.prefix(300))") }
        if let retry = self.retry { parts.append("retry: \(retry)") }
        return parts.joined(separator: " ")
    }
}
