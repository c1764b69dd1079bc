public import FlowCore

/// The latest transient event of each type in the Redis key `flow:last:{flow}`, for new subscribers on every instance.
/// Events that were published on this instance are also in a local store, which alone answers while Redis is
/// unavailable.
public final class RedisTransientStore: TransientStore {
    private let link: RedisLink
    private let local: any TransientStore
    private let authenticator: MessageAuthenticator
    private let limits: TransientLimits
    private let seconds: Int64
    private let softTimeoutMilliseconds: Int
    /// Supplies the store's epoch, which each MAC covers. An event of another epoch is therefore ignored: in that other
    /// history, the flow may belong to another account.
    private let epoch: @Sendable () -> Epoch

    /// - Parameter seconds: TTL of the key, and the maximum age of an event relative to the flow's newest one.
    init(
        _ link: RedisLink, local: any TransientStore, authenticator: MessageAuthenticator, limits: TransientLimits,
        seconds: Int64,
        softTimeoutMilliseconds: Int, epoch: @escaping @Sendable () -> Epoch
    ) {
        self.link = link
        self.local = local
        self.authenticator = authenticator
        self.limits = limits
        self.epoch = epoch
        self.seconds = seconds
        self.softTimeoutMilliseconds = softTimeoutMilliseconds
    }

    /// Stores an event locally, and sends it to Redis without waiting.
    /// - Parameter version: the flow's version when the event was published.
    public func record(_ event: TransientEvent, of flow: FlowID, at version: Version) {
        self.local.record(event, of: flow, at: version)
        guard event.data.bytes.count <= self.limits.eventBytes else {
            // Too large to store. The event in Redis is no longer the latest one of its type, so it is removed.
            self.link.send([RESPCommand("HDEL", "flow:last:\(flow)", event.type.rawValue)])
            return
        }
        var call = RedisScript.putLatestTransient.call(keys: ["flow:last:\(flow)"])
        let body = JSONText.object { writer in
            writer.key("version")
            writer.value(version)
            writer.key("at")
            writer.value(event.createdAt.milliseconds)
            writer.key("data")
            writer.raw(event.data)
        }
        call.add(event.type.rawValue)
        call.add(self.mac(flow, event.type, body) + body.bytes)
        call.add(self.seconds * 1_000)
        call.add(self.limits.types)
        self.link.send([call])
    }

    /// The later one of the local event and the event in Redis, for each type; only events that were published when the
    /// flow was at or above the version. Without a reply in time, local events only.
    public func latest(of flow: FlowID, since version: Version) async -> [TransientEvent] {
        let localEvents = await self.local.latest(of: flow, since: version)
        let replies = try? await self.link.run(
            [RESPCommand("HGETALL", "flow:last:\(flow)")], within: self.softTimeoutMilliseconds)
        guard let fields = replies?.first?.elements else { return localEvents }
        let types = Set(localEvents.map(\.type))
        var shared: [TransientEvent] = []
        for index in stride(from: 0, to: fields.count - 1, by: 2) {
            guard let event = self.event(flow, fields[index], fields[index + 1], since: version) else { continue }
            if !types.contains(event.type)
                || localEvents.contains(where: { $0.type == event.type && $0.createdAt < event.createdAt })
            {
                shared.append(event)
            }
        }
        let newer = Set(shared.map(\.type))
        let all = shared + localEvents.filter { !newer.contains($0.type) }
        guard let newest = all.map(\.createdAt).max() else { return [] }
        let oldest = newest.advanced(bySeconds: -self.seconds)
        // In order of publication. Among events of the same millisecond, those of this instance come last, in the local
        // store's order.
        let sorted = all.filter { $0.createdAt >= oldest }.enumerated()
            .sorted { ($0.element.createdAt, $0.offset) < ($1.element.createdAt, $1.offset) }.map(\.element)
        return sorted.suffix(self.limits.types)
    }

    /// Removes the local events. Called when the epoch changes; the MACs of the events in Redis are then invalid.
    public func removeAll() {
        self.local.removeAll()
    }

    /// The MAC of an event in Redis. It covers flow, type, epoch and `body`.
    private func mac(_ flow: FlowID, _ type: EventType, _ body: JSONText) -> [UInt8] {
        self.authenticator.mac(for: Array("\(flow) \(type) \(self.epoch()) ".utf8) + body.bytes)
    }

    /// Decodes a field of `flow:last:{flow}`.
    /// - Returns: `nil` if it is malformed, its MAC is wrong, or it was published when the flow was below `version`.
    private func event(_ flow: FlowID, _ name: RESPValue, _ value: RESPValue, since version: Version) -> TransientEvent? {
        guard let type = name.text.flatMap({ EventType($0) }), let macAndBody = value.bytes,
            macAndBody.count > MessageAuthenticator.macLength,
            let body = try? JSONText(validating: Array(macAndBody[MessageAuthenticator.macLength...])),
            self.mac(flow, type, body) == Array(macAndBody[..<MessageAuthenticator.macLength]),
            let at = body.member("version")?.intValue, at >= version, let created = body.member("at")?.intValue,
            let data = body.member("data")
        else { return nil }
        return TransientEvent(type: type, data: data, createdAt: Timestamp(milliseconds: created))
    }
}
