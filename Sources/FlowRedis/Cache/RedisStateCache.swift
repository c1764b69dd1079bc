public import FlowCore

/// Cache of stored flows that the instances share in two Redis keys: `flow:state:{flow}` has the bare state, as the legacy
/// service reads it, and `flow:meta:{flow}` has the rest.
///
/// A MAC covers both. If another program overwrites the state, the MAC is wrong and the entry counts as a cache miss.
public final class RedisStateCache: SharedStateCache {
    private let link: RedisLink
    private let authenticator: MessageAuthenticator
    private let seconds: Int
    private let softTimeoutMilliseconds: Int

    /// - Parameter seconds: TTL of an entry. Up to 10% is added at random, so that entries do not expire at the same
    ///   time.
    init(_ link: RedisLink, authenticator: MessageAuthenticator, seconds: Int, softTimeoutMilliseconds: Int) {
        self.link = link
        self.authenticator = authenticator
        self.seconds = seconds
        self.softTimeoutMilliseconds = softTimeoutMilliseconds
    }

    /// Sends a stored flow to Redis without waiting. Has no effect if Redis has the flow with a higher epoch, or with
    /// the same epoch and a higher version.
    public func put(_ record: FlowRecord, epoch: Epoch) {
        let flow = record.head.flow.rawValue
        let rest = Self.rest(of: record)
        let milliseconds = self.seconds * 1_000 + Int.random(in: 0...max(1, self.seconds * 100))
        var call = RedisScript.putState.call(keys: ["flow:state:\(flow)", "flow:meta:\(flow)"])
        call.add(epoch.description)
        call.add(record.version)
        call.add(milliseconds)
        call.add(record.state.bytes)
        call.add(self.mac(record, epoch, rest) + rest.bytes)
        self.link.send([call])
    }

    /// Reads a stored flow.
    /// - Returns: `nil` if the flow is not cached, has another epoch, a version below `version` or a wrong MAC, or if
    ///   Redis does not reply in time.
    public func record(of flow: FlowID, atLeast version: Version, epoch: Epoch) async -> FlowRecord? {
        let replies = try? await self.link.run(
            [
                RESPCommand("GET", "flow:state:\(flow)"),
                RESPCommand("HMGET", "flow:meta:\(flow)", "epoch", "version", "record"),
            ], within: self.softTimeoutMilliseconds)
        guard let replies, replies.count == 2, let state = replies[0].bytes, let meta = replies[1].elements, meta.count == 3,
            let stored = meta[0].text.flatMap({ Epoch($0) }), stored == epoch,
            let number = meta[1].text.flatMap({ Int64($0) }), number >= version, let macAndBody = meta[2].bytes,
            macAndBody.count > MessageAuthenticator.macLength
        else { return nil }
        guard let record = Self.record(flow, number, state: state, rest: Array(macAndBody[MessageAuthenticator.macLength...]))
        else {
            return nil
        }
        let mac = self.mac(record, epoch, Self.rest(of: record))
        return mac == Array(macAndBody[..<MessageAuthenticator.macLength]) ? record : nil
    }

    /// The MAC of a cached flow. It covers flow, epoch, version, state and ``rest(of:)``.
    private func mac(_ record: FlowRecord, _ epoch: Epoch, _ rest: JSONText) -> [UInt8] {
        let context = "\(record.head.flow) \(epoch) \(record.version) "
        return self.authenticator.mac(for: Array(context.utf8) + rest.bytes + record.state.bytes)
    }

    /// The stored flow without its id, version and state, as JSON. The field `record` of `flow:meta:{flow}` has it after
    /// the MAC.
    private static func rest(of record: FlowRecord) -> JSONText {
        JSONText.object { writer in
            writer.key("account")
            writer.value(record.head.account)
            writer.key("status")
            writer.value(record.head.status.rawValue)
            writer.key("reset")
            writer.value(record.head.resetVersion)
            writer.key("updated")
            writer.value(record.head.updatedAt.milliseconds)
            writer.key("fence")
            writer.raw(record.fence)
        }
    }

    /// Composes a stored flow from the cached state and `rest`; `nil` if one of them is malformed.
    private static func record(_ flow: FlowID, _ version: Version, state: [UInt8], rest: [UInt8]) -> FlowRecord? {
        guard let state = try? JSONText(validating: state), state.isObject, let rest = try? JSONText(validating: rest),
            let account = rest.member("account")?.stringValue, let status = rest.member("status")?.stringValue,
            let reset = rest.member("reset")?.intValue, let updated = rest.member("updated")?.intValue,
            let fence = rest.member("fence")
        else { return nil }
        let head = FlowHead(
            flow: flow, account: account, version: version, status: FlowStatus(stored: status), resetVersion: reset,
            updatedAt: Timestamp(milliseconds: updated))
        return FlowRecord(head: head, state: state, fence: fence)
    }
}
