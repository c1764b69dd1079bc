import FlowCore

/// The Redis keys of a flow's streams.
enum RegistryKeys {
    /// The hash with the entries of the hub's streams. Only hub instances use it.
    static func connections(of flow: FlowID) -> String { "hub:connections:\(flow)" }
    /// The legacy service's JSON string with its streams. Hubs only read it. Earlier versions of the hub had their hash here.
    static func legacyConnections(of flow: FlowID) -> String { "sse:connections:\(flow)" }
}

/// Reads from Redis what other instances and the legacy service have registered.
struct RegistryReader: Sendable {
    /// Upper bound for the number of streams that another instance reports for a flow. A higher number counts as this
    /// bound, so that a corrupt value in Redis cannot overflow the sum over all instances.
    private static let maximumPlausibleCount = 1_000_000_000
    /// Maximum number of instances that are read from Redis, and maximum length of their names in bytes.
    private static let maximumInstances = 1_000
    private static let maximumInstanceBytes = 64

    private let link: RedisLink
    private let instance: String
    private let timeoutMilliseconds: Int

    /// - Parameters:
    ///   - instance: this instance, whose own entries are not read.
    ///   - timeoutMilliseconds: milliseconds to wait for a reply. When they have elapsed, the caller continues without it.
    init(_ link: RedisLink, instance: String, timeoutMilliseconds: Int) {
        self.link = link
        self.instance = instance
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// The entries of other live instances for a flow; empty if Redis does not reply in time.
    func entries(of flow: FlowID) async -> [ConnectionEntry] {
        // The second key has entries of instances with an earlier version; with a legacy service's string, it is an error reply.
        let replies = try? await self.link.run(
            [
                RESPCommand("HGETALL", RegistryKeys.connections(of: flow)),
                RESPCommand("HGETALL", RegistryKeys.legacyConnections(of: flow)),
            ], within: self.timeoutMilliseconds)
        var found: [ConnectionID: (entry: ConnectionEntry, incarnation: String)] = [:]
        for fields in (replies ?? []).compactMap(\.elements) {
            for index in stride(from: 0, to: fields.count - 1, by: 2) {
                guard let field = ConnectionField.decode(fields[index], fields[index + 1], flow),
                    field.entry.connection.instance != self.instance
                else { continue }
                found[field.entry.connection] = field
            }
        }
        let incarnations = await self.incarnations(of: Array(Set(found.keys.map(\.instance))))
        return found.values.filter { incarnations[$0.entry.connection.instance] == $0.incarnation }.map(\.entry)
    }

    /// The streams that the legacy service has registered for a flow; empty if Redis does not reply in time.
    func legacyConnections(of flow: FlowID) async -> [ForeignConnection] {
        let replies = try? await self.link.run(
            [RESPCommand("GET", RegistryKeys.legacyConnections(of: flow))], within: self.timeoutMilliseconds)
        return replies?.first?.bytes.map { LegacyConnections.decode($0) } ?? []
    }

    /// The names of all other instances, dead ones among them; `nil` if Redis does not reply in time.
    func otherInstances() async -> [String]? {
        var call = RedisScript.instances.call(keys: ["hub:instances"])
        call.add(Self.maximumInstances)
        call.add(Self.maximumInstanceBytes)
        let reply = try? await self.link.run(RedisScript.instances, call, within: self.timeoutMilliseconds)
        return reply?.elements?.compactMap(\.text).filter { $0 != self.instance }
    }

    /// The incarnations of those instances that are alive, by instance; empty if Redis does not reply in time.
    func incarnations(of instances: [String]) async -> [String: String] {
        guard !instances.isEmpty else { return [:] }
        // Another program may have written a value of any length or type.
        let commands = instances.map { RESPCommand("GETRANGE", "hub:alive:\($0)", "0", "63") }
        let replies = try? await self.link.run(commands, within: self.timeoutMilliseconds)
        guard let values = replies, values.count == instances.count else { return [:] }
        var incarnations: [String: String] = [:]
        for (instance, value) in zip(instances, values) {
            if let text = value.text, !text.isEmpty { incarnations[instance] = text }
        }
        return incarnations
    }

    /// The numbers of streams of all other live instances; `nil` if Redis does not reply in time.
    func counts(of keys: [AccountFlow]) async -> [AccountFlow: Int]? {
        guard let otherInstances = await self.otherInstances() else { return nil }
        let commands = await self.incarnations(of: otherInstances).keys.map { instance in
            var command = RESPCommand("HMGET", "hub:flows:\(instance)")
            for key in keys { command.add(key.field) }
            return command
        }
        guard let counts = try? await self.link.run(commands, within: self.timeoutMilliseconds) else { return nil }
        var sums: [AccountFlow: Int] = [:]
        for reply in counts {
            for (key, value) in zip(keys, reply.elements ?? []) {
                let count = value.text.flatMap { Int($0) } ?? 0
                sums[key, default: 0] += min(max(0, count), Self.maximumPlausibleCount)
            }
        }
        return sums
    }
}
