import FlowCore
import NIOCore
import Synchronization

/// Messages between instances other than events, on the Redis channels `hub:control:{instance}` and `hub:control:all`:
/// peer notifications and requests to close a connection. Each message has a MAC.
final class ControlChannel: Sendable {
    private struct State {
        var waiting: [String: CheckedContinuation<Bool, Never>] = [:]
        var disconnect: @Sendable (ConnectionID, String?) -> Bool = { _, _ in false }
        var onNotification: @Sendable (PeerNotification) -> Void = { _ in }
    }

    private let instance: String
    private let link: RedisLink
    private let authenticator: MessageAuthenticator
    /// Timeout for an answer in milliseconds.
    private let timeoutMilliseconds: Int
    private let state = Mutex(State())

    init(_ link: RedisLink, instance: String, authenticator: MessageAuthenticator, timeoutMilliseconds: Int) {
        self.link = link
        self.instance = instance
        self.authenticator = authenticator
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    func onDisconnect(_ body: @escaping @Sendable (ConnectionID, String?) -> Bool) {
        self.state.withLock { $0.disconnect = body }
    }
    func onNotification(_ body: @escaping @Sendable (PeerNotification) -> Void) {
        self.state.withLock { $0.onNotification = body }
    }

    // MARK: Sending

    func notifyPeers(_ notification: PeerNotification) {
        self.send(to: "all") { writer in
            writer.key("op")
            writer.value("notice")
            writer.key("notice")
            writer.value(notification.rawValue)
        }
    }

    /// Asks the instance that has the connection to close it.
    /// - Returns: whether that instance has closed it; `false` if there is no answer in time.
    func disconnect(_ connection: ConnectionID, account: String?) async -> Bool {
        let requestID = RandomText.hex128()
        return await withCheckedContinuation { continuation in
            self.state.withLock { $0.waiting[requestID] = continuation }
            // An instance that is not running does not answer.
            self.link.loop.scheduleTask(in: .milliseconds(Int64(self.timeoutMilliseconds))) { self.answered(requestID, false) }
            self.send(to: connection.instance) { writer in
                writer.key("op")
                writer.value("disconnect")
                writer.key("connection")
                writer.value(connection.description)
                writer.key("account")
                if let account { writer.value(account) } else { writer.null() }
                writer.key("number")
                writer.value(requestID)
            }
        }
    }

    private func answered(_ requestID: String, _ isFound: Bool) {
        self.state.withLock { $0.waiting.removeValue(forKey: requestID) }?.resume(returning: isFound)
    }

    private func send(to instance: String, _ body: (inout JSONWriter) -> Void) {
        let text = JSONText.object { writer in
            writer.key("from")
            writer.value(self.instance)
            body(&writer)
        }
        var command = RESPCommand("PUBLISH", "hub:control:\(instance)")
        command.add(self.authenticator.mac(for: text.bytes) + text.bytes)
        self.link.send([command])
    }

    // MARK: Receiving

    /// Handles a message of one of the two Redis channels.
    func received(_ payload: [UInt8]) {
        guard payload.count > MessageAuthenticator.macLength else { return }
        let body = Array(payload[MessageAuthenticator.macLength...])
        guard self.authenticator.mac(for: body) == Array(payload[..<MessageAuthenticator.macLength]),
            let json = try? JSONText(validating: body),
            let from = json.member("from")?.stringValue, from != self.instance
        else { return }
        switch json.member("op")?.stringValue {
        case "notice":
            let notification = json.member("notice")?.stringValue.flatMap { PeerNotification(rawValue: $0) }
            if let notification { self.state.withLock { $0.onNotification }(notification) }
        case "disconnect":
            guard let connection = json.member("connection")?.stringValue.flatMap({ ConnectionID($0) }),
                let requestID = json.member("number")?.stringValue
            else { return }
            let isFound = self.state.withLock { $0.disconnect }(connection, json.member("account")?.stringValue)
            self.send(to: from) { writer in
                writer.key("op")
                writer.value("answer")
                writer.key("number")
                writer.value(requestID)
                writer.key("found")
                writer.value(isFound)
            }
        case "answer":
            if let requestID = json.member("number")?.stringValue {
                self.answered(requestID, json.member("found")?.boolValue ?? false)
            }
        default: break
        }
    }
}
