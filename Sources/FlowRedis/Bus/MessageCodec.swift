import FlowCore
import Synchronization

/// An event as it goes over the channel `flow:updates:{flow}`: the seed service's `{"type","flow_id","updates" or
/// "data","timestamp"}` with the hub's own members before it.
///
/// The members of the hub's own messages come in one order, and the mark first, so that reading one is a comparison of bytes
/// and not a parse of JSON. What bears no mark is somebody else's and is parsed.
struct MessageCodec: Sendable {
    enum DecodeResult: Sendable {
        case own(BusMessage)
        /// What this instance published itself.
        case echo
        /// Of a service that knows the seed's format only.
        case foreign(TransientEvent)
        case rejected(RejectReason)
    }

    enum RejectReason: String, Sendable, CaseIterable {
        case tooLarge = "too_large"
        /// No JSON, or not the members that an event has.
        case malformed
        /// It says that it is the hub's, and is not.
        case forged
        /// It is of another flow than its channel's.
        case otherFlow = "other_flow"
        /// A transient event that says nothing any more: a connection had fallen silent, and everything came at last.
        case late
    }

    /// Milliseconds after which a transient event is too late.
    static let maximumTransientAge: Int64 = 10_000

    let authenticator: MessageAuthenticator
    let origin: String
    let maximumBytes: Int
    private let epochCache = EpochCache()

    init(authenticator: MessageAuthenticator, origin: String, maximumBytes: Int) {
        self.authenticator = authenticator
        self.origin = origin
        self.maximumBytes = maximumBytes
    }

    // MARK: Writing

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

    // MARK: Reading

    private static let macPrefix = Array("{\"mac\":\"".utf8)

    /// - Parameter flow: the channel's.
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

    /// A message of the seed's format. Whoever says more, a version or an epoch, claims to be the hub.
    private static func foreign(_ bytes: [UInt8], _ flow: FlowID, _ now: Timestamp) -> DecodeResult {
        guard let json = try? JSONText(validating: bytes), json.isObject else { return .rejected(.malformed) }
        guard ["version", "epoch", "origin", "mac"].allSatisfy({ json.member($0) == nil }) else { return .rejected(.forged) }
        guard let type = json.member("type")?.stringValue.flatMap({ EventType($0) }),
            !type.isReserved || type == .stateUpdate,
            let data = json.member(type == .stateUpdate ? "updates" : "data") ?? json.member("updates")
        else { return .rejected(.malformed) }
        guard json.member("flow_id")?.stringValue == flow.rawValue else { return .rejected(.otherFlow) }
        return .foreign(TransientEvent(type: type, data: data, createdAt: now, isForeign: true))
    }
}

/// The epoch that was read last: it is the same for a long time.
private final class EpochCache: Sendable {
    private let last = Mutex<(bytes: [UInt8], epoch: Epoch)?>(nil)

    func epoch(_ bytes: Slice<UnsafeRawBufferPointer>) -> Epoch? {
        self.last.withLock { last in
            if let last, bytes.elementsEqual(last.bytes) { return last.epoch }
            guard let epoch = Epoch(String(decoding: bytes, as: UTF8.self)) else { return nil }
            last = (Array(bytes), epoch)
            return epoch
        }
    }
}

/// Reads members whose names and order are known, from bytes whose mark was right.
private struct MemberReader {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private mutating func skip(_ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard self.position + count <= self.bytes.count else { return false }
        for index in 0..<count where self.bytes[self.position + index] != text.utf8Start[index] { return false }
        self.position += count
        return true
    }

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

    /// A string that needs no escapes, as it stands between its quotes.
    mutating func bytes(_ name: StaticString) -> Slice<UnsafeRawBufferPointer>? {
        guard let (range, isEscaped) = self.string(name), !isEscaped else { return nil }
        return self.bytes[range]
    }

    mutating func text(_ name: StaticString) -> String? {
        guard let (range, isEscaped) = self.string(name) else { return nil }
        if isEscaped {
            return (try? JSONText(validating: Array(self.bytes[(range.lowerBound - 1)...range.upperBound])))?.stringValue
        }
        return String(decoding: self.bytes[range], as: UTF8.self)
    }

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

    /// What is left, as an object of its own.
    func rest() -> JSONText {
        guard self.position < self.bytes.count, self.bytes[self.position] == UInt8(ascii: ",") else { return .emptyObject }
        return JSONText(trusted: [UInt8(ascii: "{")] + self.bytes[(self.position + 1)...])
    }

    /// The member `data`, which is the last.
    mutating func data() -> JSONText? {
        guard self.skip(",\"data\":"), self.position < self.bytes.count - 1 else { return nil }
        return JSONText(trusted: Array(self.bytes[self.position..<(self.bytes.count - 1)]))
    }
}
