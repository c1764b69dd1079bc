import FlowCore
import NIOCore
import Synchronization

/// Messages from instance to instance that are not events of flows: peer notifications, requests to close a stream, and those
/// of ``ForeignListener``: marks, and that the leader lease is free. They use the Redis channels `hub:control:{instance}` and
/// `hub:control:all`, and each has a MAC.
final class ControlChannel: Sendable {
    /// A message for ``ForeignListener``.
    enum ForeignSignal: Hashable {
        /// The identifier of a mark of any instance, this one included.
        case mark(String)
        /// Another instance has given the leader lease back.
        case leaseFree
    }

    private struct State {
        /// Calls of ``disconnect(_:account:)`` that wait for an answer, by request id.
        var waiting: [String: CheckedContinuation<Bool, Never>] = [:]
        /// Closes a stream of this instance; see ``onDisconnect(_:)``.
        var disconnect: @Sendable (ConnectionID, String?) -> Bool = { _, _ in false }
        var onNotification: @Sendable (PeerNotification) -> Void = { _ in }
    }

    private let instance: String
    private let link: RedisLink
    private let authenticator: MessageAuthenticator
    /// Timeout in milliseconds for another instance's answer to a request to close a stream.
    private let timeoutMilliseconds: Int
    private let state = Mutex(State())

    init(_ link: RedisLink, instance: String, authenticator: MessageAuthenticator, timeoutMilliseconds: Int) {
        self.link = link
        self.instance = instance
        self.authenticator = authenticator
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// Sets the callback that closes a stream of this instance, provided that it belongs to the account (`nil`: any account).
    /// The callback returns whether there is such a stream.
    func onDisconnect(_ body: @escaping @Sendable (ConnectionID, String?) -> Bool) {
        self.state.withLock { $0.disconnect = body }
    }
    /// Sets the callback that receives the peer notifications of other instances.
    func onNotification(_ body: @escaping @Sendable (PeerNotification) -> Void) {
        self.state.withLock { $0.onNotification = body }
    }

    // MARK: Sending

    /// Sends a peer notification to all other instances. Best effort: it does not reach an instance that is not
    /// connected to Redis, and none if this instance is not connected.
    func notifyPeers(_ notification: PeerNotification) {
        self.send(to: "all") { writer in
            writer.key("op")
            writer.value("notice")
            writer.key("notice")
            writer.value(notification.rawValue)
        }
    }

    /// Publishes a mark to all instances, this one included. See ``PublicationIdentity``.
    func publishMark(_ identifier: String) {
        self.send(to: "all") { writer in
            writer.key("op")
            writer.value("mark")
            writer.key("mark")
            writer.value(identifier)
        }
    }

    /// Reports to the other instances that this one has given the leader lease back.
    func announceFreeLease() {
        self.send(to: "all") { writer in
            writer.key("op")
            writer.value("lease_free")
        }
    }

    /// Asks the instance that serves a stream to close it.
    /// - Parameter account: the account that the stream must belong to; `nil` for any.
    /// - Returns: whether that instance closes it; `false` if it has no such stream or does not answer in time.
    func disconnect(_ connection: ConnectionID, account: String?) async -> Bool {
        let requestID = RandomText.hex128()
        return await withCheckedContinuation { continuation in
            self.state.withLock { $0.waiting[requestID] = continuation }
            // An instance that is not running does not answer: without the timeout, the caller would wait forever.
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

    /// Resumes the call that waits for the answer to a request. Without effect if the answer or the timeout came before.
    private func answered(_ requestID: String, _ isFound: Bool) {
        self.state.withLock { $0.waiting.removeValue(forKey: requestID) }?.resume(returning: isFound)
    }

    /// Publishes a JSON message with a MAC to one instance, or to all of them if `instance` is `all`.
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

    /// Handles a message of one of the two Redis channels. Ignores it if its MAC is wrong, or if this instance sent it and it is
    /// no mark.
    /// - Returns: what the caller must pass to ``ForeignListener``, if there is one.
    func received(_ payload: [UInt8]) -> ForeignSignal? {
        guard payload.count > MessageAuthenticator.macLength else { return nil }
        let body = Array(payload[MessageAuthenticator.macLength...])
        guard self.authenticator.mac(for: body) == Array(payload[..<MessageAuthenticator.macLength]),
            let json = try? JSONText(validating: body), let from = json.member("from")?.stringValue
        else { return nil }
        let operation = json.member("op")?.stringValue
        if operation == "mark" { return json.member("mark")?.stringValue.map { .mark($0) } }
        guard from != self.instance else { return nil }
        switch operation {
        case "lease_free": return .leaseFree
        case "notice":
            let notification = json.member("notice")?.stringValue.flatMap { PeerNotification(rawValue: $0) }
            if let notification { self.state.withLock { $0.onNotification }(notification) }
        case "disconnect":
            guard let connection = json.member("connection")?.stringValue.flatMap({ ConnectionID($0) }),
                let requestID = json.member("number")?.stringValue
            else { return nil }
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
        return nil
    }
}
