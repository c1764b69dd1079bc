import FlowCore
import NIOCore
import Synchronization

/// What instances tell each other beside events, over `hub:control:{i}` and `hub:control:all`. Marked as messages are.
final class ControlChannel: Sendable {
    private struct State {
        var waiting: [String: CheckedContinuation<Bool, Never>] = [:]
        var disconnect: @Sendable (ConnectionID, String?) -> Bool = { _, _ in false }
        var notice: @Sendable (PeerNotification) -> Void = { _ in }
    }

    private let instance: String
    private let link: RedisLink
    private let key: MessageAuthenticator
    /// Milliseconds that an answer may take.
    private let patience: Int
    private let state = Mutex(State())

    init(_ link: RedisLink, instance: String, key: MessageAuthenticator, patience: Int) {
        self.link = link
        self.instance = instance
        self.key = key
        self.patience = patience
    }

    func onDisconnect(_ body: @escaping @Sendable (ConnectionID, String?) -> Bool) {
        self.state.withLock { $0.disconnect = body }
    }
    func onNotice(_ body: @escaping @Sendable (PeerNotification) -> Void) { self.state.withLock { $0.notice = body } }

    // MARK: Sending

    func tellOthers(_ notice: PeerNotification) {
        self.send(to: "all") { writer in
            writer.key("op")
            writer.value("notice")
            writer.key("notice")
            writer.value(notice.rawValue)
        }
    }

    /// Asks the instance that holds the connection. - Returns: whether it has ended one.
    func disconnect(_ connection: ConnectionID, account: String?) async -> Bool {
        let number = RandomText.hex128()
        return await withCheckedContinuation { continuation in
            self.state.withLock { $0.waiting[number] = continuation }
            // Nobody answers for an instance that is not there.
            self.link.loop.scheduleTask(in: .milliseconds(Int64(self.patience))) { self.answered(number, false) }
            self.send(to: connection.instance) { writer in
                writer.key("op")
                writer.value("disconnect")
                writer.key("connection")
                writer.value(connection.description)
                writer.key("account")
                if let account { writer.value(account) } else { writer.null() }
                writer.key("number")
                writer.value(number)
            }
        }
    }

    private func answered(_ number: String, _ isFound: Bool) {
        self.state.withLock { $0.waiting.removeValue(forKey: number) }?.resume(returning: isFound)
    }

    private func send(to instance: String, _ body: (inout JSONWriter) -> Void) {
        let text = JSONText.object { writer in
            writer.key("from")
            writer.value(self.instance)
            body(&writer)
        }
        var command = RESPCommand("PUBLISH", "hub:control:\(instance)")
        command.add(self.key.mark(text.bytes) + text.bytes)
        self.link.send([command])
    }

    // MARK: Hearing

    /// What came on one of the channels.
    func heard(_ payload: [UInt8]) {
        guard payload.count > MessageAuthenticator.markLength else { return }
        let body = Array(payload[MessageAuthenticator.markLength...])
        guard self.key.mark(body) == Array(payload[..<MessageAuthenticator.markLength]), let json = try? JSONText(validating: body),
            let from = json.member("from")?.stringValue, from != self.instance
        else { return }
        switch json.member("op")?.stringValue {
        case "notice":
            let notice = json.member("notice")?.stringValue.flatMap { PeerNotification(rawValue: $0) }
            if let notice { self.state.withLock { $0.notice }(notice) }
        case "disconnect":
            guard let connection = json.member("connection")?.stringValue.flatMap({ ConnectionID($0) }),
                let number = json.member("number")?.stringValue
            else { return }
            let isFound = self.state.withLock { $0.disconnect }(connection, json.member("account")?.stringValue)
            self.send(to: from) { writer in
                writer.key("op")
                writer.value("answer")
                writer.key("number")
                writer.value(number)
                writer.key("found")
                writer.value(isFound)
            }
        case "answer":
            if let number = json.member("number")?.stringValue { self.answered(number, json.member("found")?.boolValue ?? false) }
        default: break
        }
    }
}
