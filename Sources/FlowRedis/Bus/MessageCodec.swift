import FlowCore
import Synchronization

/// Encodes and decodes the messages of the Redis channel `flow:updates:{flow}`. The format is that of the legacy
/// service, `{"type","flow_id","updates" or "data","timestamp"}`, preceded by members that only hub instances write.
///
/// Hub messages have their members in a fixed order, the MAC first, so that decoding compares bytes instead of parsing
/// JSON. A message without a MAC is foreign and is parsed.
struct MessageCodec: Sendable {
    enum DecodeResult: Sendable {
        /// A message that another instance of this hub published.
        case own(BusMessage)
        /// A message that this process published.
        case echo
        /// A message without a MAC, in the legacy service's format.
        case foreign(TransientEvent)
        /// A message that must be dropped.
        case rejected(RejectReason)
    }

    enum RejectReason: String, Sendable, CaseIterable {
        /// The message exceeds ``maximumBytes``.
        case tooLarge = "too_large"
        /// The message is not JSON, or lacks members of an event.
        case malformed
        /// The message imitates a hub message: it has a MAC that is wrong, or members that only hub messages have.
        case forged
        /// A foreign message with a type that only the hub may publish.
        case reservedType = "reserved_type"
        /// The message's `flow_id` is not the flow of the Redis channel on which it arrived.
        case otherFlow = "other_flow"
        /// A transient event that was published more than ``maximumTransientAge`` ago, as after a stalled connection.
        case late
    }

    /// Maximum age of a transient event in milliseconds.
    static let maximumTransientAge: Int64 = 10_000

    let authenticator: MessageAuthenticator
    /// Identifier of this process, which all its messages contain. By it the process recognizes the echo of its own
    /// message.
    let origin: String
    /// Maximum bytes of a received message. A larger one is rejected as ``RejectReason/tooLarge``.
    let maximumBytes: Int
    private let epochCache = EpochCache()

    init(authenticator: MessageAuthenticator, origin: String, maximumBytes: Int) {
        self.authenticator = authenticator
        self.origin = origin
        self.maximumBytes = maximumBytes
    }

    // MARK: Encoding

    /// Encodes a message of this process, with its MAC.
    /// - Parameter sequence: number of the message, counted from 1 over all messages of this process.
    func encode(_ message: BusMessage, sequence: UInt64) -> [UInt8] {
        var writer = JSONWriter(capacity: 512)
        writer.beginObject()
        writer.key("origin")
        writer.value(self.origin)
        writer.key("seq")
        writer.value(Int64(truncatingIfNeeded: sequence))
        writer.key("epoch")
        writer.value(message.epoch.description)
        writer.key("account")
        writer.value(message.account)
        switch message.content {
        case .durable(let event, let head):
            writer.key("version")
            writer.value(event.version)
            writer.key("status")
            writer.value(head.status.rawValue)
            writer.key("reset")
            writer.value(head.resetVersion)
            writer.key("updated")
            writer.value(head.updatedAt.milliseconds)
            Self.writeCommon(&writer, event.type, message.flow, event.createdAt)
            writer.rawMembers(of: event.payload)
        case .transient(let event), .foreign(let event):
            Self.writeCommon(&writer, event.type, message.flow, event.createdAt)
            writer.key("data")
            writer.raw(event.data)
        }
        writer.endObject()
        let body = writer.finish().bytes.dropFirst()
        return Array("{\"mac\":\"".utf8) + self.authenticator.mac(for: body) + Array("\",".utf8) + body
    }

    /// Writes the members that durable and transient events have in common.
    private static func writeCommon(_ writer: inout JSONWriter, _ type: EventType, _ flow: FlowID, _ at: Timestamp) {
        writer.key("at")
        writer.value(at.milliseconds)
        writer.key("type")
        writer.value(type.rawValue)
        writer.key("flow_id")
        writer.value(flow.rawValue)
        writer.key("timestamp")
        writer.value(at.description)
    }

    // MARK: Decoding

    private static let macPrefix = Array("{\"mac\":\"".utf8)

    /// Whether a received message begins as hub messages do.
    static func isOfHub(_ bytes: [UInt8]) -> Bool { bytes.starts(with: Self.macPrefix) }

    /// Decodes a received message and checks its MAC.
    /// - Parameter flow: the flow of the Redis channel on which the message arrived.
    func decode(_ bytes: [UInt8], from flow: FlowID, now: Timestamp) -> DecodeResult {
        guard bytes.count <= self.maximumBytes else { return .rejected(.tooLarge) }
        guard bytes.starts(with: Self.macPrefix) else { return Self.foreign(bytes, flow, now) }
        return bytes.withUnsafeBytes { raw -> DecodeResult in
            let macEnd = Self.macPrefix.count + MessageAuthenticator.macLength
            guard raw.count > macEnd + 2 else { return .rejected(.forged) }
            let mac = UnsafeRawBufferPointer(rebasing: raw[Self.macPrefix.count..<macEnd])
            let body = UnsafeRawBufferPointer(rebasing: raw[(macEnd + 2)...])
            guard self.authenticator.isAuthentic(body, mac: mac) else { return .rejected(.forged) }
            var reader = MemberReader(body)
            return self.own(&reader, flow, now)
        }
    }

    /// Decodes the members of a message whose MAC was verified.
    private func own(_ reader: inout MemberReader, _ flow: FlowID, _ now: Timestamp) -> DecodeResult {
        guard let origin = reader.bytes("\"origin\":"), reader.number(",\"seq\":") != nil,
            let epoch = reader.bytes(",\"epoch\":").flatMap({ self.epochCache.epoch($0) }),
            let account = reader.text(",\"account\":")
        else { return .rejected(.malformed) }
        if origin.elementsEqual(self.origin.utf8) { return .echo }
        var head: FlowHead?
        if let version = reader.number(",\"version\":") {
            guard let status = reader.text(",\"status\":"), let reset = reader.number(",\"reset\":"),
                let updated = reader.number(",\"updated\":")
            else { return .rejected(.malformed) }
            head = FlowHead(
                flow: flow, account: account, version: version, status: FlowStatus(stored: status), resetVersion: reset,
                updatedAt: Timestamp(milliseconds: updated))
        }
        guard let at = reader.number(",\"at\":"), let type = reader.text(",\"type\":").flatMap({ EventType($0) }),
            let stated = reader.bytes(",\"flow_id\":"), reader.bytes(",\"timestamp\":") != nil
        else { return .rejected(.malformed) }
        guard stated.elementsEqual(flow.rawValue.utf8) else { return .rejected(.otherFlow) }
        let moment = Timestamp(milliseconds: at)
        let content: BusMessage.Content
        if let head {
            let event = FlowEvent(version: head.version, type: type, payload: reader.rest(), createdAt: moment)
            content = .durable(event, head: head)
        } else {
            if now.milliseconds - at > Self.maximumTransientAge { return .rejected(.late) }
            guard let data = reader.data() else { return .rejected(.malformed) }
            content = .transient(TransientEvent(type: type, data: data, createdAt: moment))
        }
        return .own(BusMessage(flow: flow, account: account, epoch: epoch, content: content))
    }

    /// Decodes a message of a service: `{"type","flow_id","timestamp"}` and any further members, which are the event's data. If
    /// the only further member is `updates` or `data`, its value is the data. `flow_id` may be left out.
    ///
    /// A `state_update` has a merge patch as its data: the member `updates`, if there is one.
    private static func foreign(_ bytes: [UInt8], _ flow: FlowID, _ now: Timestamp) -> DecodeResult {
        guard let json = try? JSONText(validating: bytes), json.isObject else { return .rejected(.malformed) }
        // Every hub message has these. A service may have one of the others, such as `version`, for a purpose of its own.
        let imitatesHub = json.member("mac") != nil || (json.member("origin") != nil && json.member("epoch") != nil)
        guard !imitatesHub else { return .rejected(.forged) }
        guard let type = json.member("type")?.stringValue.flatMap({ EventType($0) }) else { return .rejected(.malformed) }
        guard !type.isReserved || type == .stateUpdate else { return .rejected(.reservedType) }
        if let stated = json.member("flow_id"), !stated.isNull {
            // A service whose ids are numbers may write them as numbers.
            guard (stated.stringValue ?? stated.string) == flow.rawValue else { return .rejected(.otherFlow) }
        }
        let further = json.members.filter { !["type", "flow_id", "timestamp"].contains($0.key) }
        if type == .stateUpdate, further.isEmpty { return .rejected(.malformed) }
        var event = TransientEvent(type: type, data: .emptyObject, createdAt: now, isForeign: true)
        if further.count == 1, ["updates", "data"].contains(further[0].key) {
            event.data = further[0].value
        } else if type == .stateUpdate, let updates = json.member("updates") {
            event.data = updates
            event.furtherData = Self.object(further.filter { $0.key != "updates" })
        } else {
            event.data = Self.object(further)
        }
        if type == .stateUpdate, !event.data.isObject { return .rejected(.malformed) }
        return .foreign(event)
    }

    private static func object(_ members: [(key: String, value: JSONText)]) -> JSONText {
        JSONText.object { writer in
            for (key, value) in members {
                writer.key(key)
                writer.raw(value)
            }
        }
    }
}

/// Cache of the most recently parsed epoch, which is the same in nearly all consecutive messages.
private final class EpochCache: Sendable {
    private let last = Mutex<(bytes: [UInt8], epoch: Epoch)?>(nil)

    /// Parses the text of an epoch; `nil` if it is invalid.
    func epoch(_ bytes: Slice<UnsafeRawBufferPointer>) -> Epoch? {
        self.last.withLock { last in
            if let last, bytes.elementsEqual(last.bytes) { return last.epoch }
            guard let epoch = Epoch(String(decoding: bytes, as: UTF8.self)) else { return nil }
            last = (Array(bytes), epoch)
            return epoch
        }
    }
}

/// Reads members with known names and order from a message whose MAC was verified. Each name is passed with the
/// punctuation around it, such as `,"version":`.
private struct MemberReader {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Moves the position past `text` if the bytes at the position are this text.
    /// - Returns: whether the bytes were this text; if not, the position is unchanged.
    private mutating func skip(_ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard self.position + count <= self.bytes.count else { return false }
        for index in 0..<count where self.bytes[self.position + index] != text.utf8Start[index] { return false }
        self.position += count
        return true
    }

    /// The integer of the next member; `nil`, without reading, if it has another name or no integer.
    mutating func number(_ name: StaticString) -> Int64? {
        let start = self.position
        guard self.skip(name) else { return nil }
        var value: Int64 = 0
        let isNegative = self.position < self.bytes.count && self.bytes[self.position] == UInt8(ascii: "-")
        if isNegative { self.position += 1 }
        let first = self.position
        while self.position < self.bytes.count, case let digit = self.bytes[self.position] &- UInt8(ascii: "0"), digit < 10 {
            value = value &* 10 &+ Int64(digit)
            self.position += 1
        }
        guard self.position > first else {
            self.position = start
            return nil
        }
        return isNegative ? -value : value
    }

    /// The bytes of a string member; `nil` if the string contains escapes or the next member has another name.
    mutating func bytes(_ name: StaticString) -> Slice<UnsafeRawBufferPointer>? {
        guard let (range, isEscaped) = self.string(name), !isEscaped else { return nil }
        return self.bytes[range]
    }

    /// The unescaped string of the next member; `nil` if it has another name or no valid string.
    mutating func text(_ name: StaticString) -> String? {
        guard let (range, isEscaped) = self.string(name) else { return nil }
        if isEscaped {
            return (try? JSONText(validating: Array(self.bytes[(range.lowerBound - 1)...range.upperBound])))?.stringValue
        }
        return String(decoding: self.bytes[range], as: UTF8.self)
    }

    /// The range between the quotes of the next member's string, and whether the string contains escapes.
    /// - Returns: `nil`, without reading, if the next member has another name or no string.
    private mutating func string(_ name: StaticString) -> (Range<Int>, isEscaped: Bool)? {
        let start = self.position
        guard self.skip(name), self.position < self.bytes.count, self.bytes[self.position] == UInt8(ascii: "\"") else {
            self.position = start
            return nil
        }
        let first = self.position + 1
        var isEscaped = false
        var end = first
        while end < self.bytes.count, self.bytes[end] != UInt8(ascii: "\"") {
            if self.bytes[end] == UInt8(ascii: "\\") {
                isEscaped = true
                end += 1
            }
            end += 1
        }
        guard end < self.bytes.count else { return nil }
        self.position = end + 1
        return (first..<end, isEscaped)
    }

    /// The members from the position to the end of the message, as a JSON object.
    func rest() -> JSONText {
        guard self.position < self.bytes.count, self.bytes[self.position] == UInt8(ascii: ",") else { return .emptyObject }
        return JSONText(trusted: [UInt8(ascii: "{")] + self.bytes[(self.position + 1)...])
    }

    /// The value of the member `data`; `nil` if the next member has another name. `data` is always the last member of
    /// its message.
    mutating func data() -> JSONText? {
        guard self.skip(",\"data\":"), self.position < self.bytes.count - 1 else { return nil }
        return JSONText(trusted: Array(self.bytes[self.position..<(self.bytes.count - 1)]))
    }
}
