import FlowCore

/// Removes the registry entries of instances that are dead from Redis.
struct InstanceSweeper: Sendable {
    /// Approximate number of flows per call of the script `sweep_instance.lua` (option COUNT of HSCAN).
    private static let batch = 100

    private let link: RedisLink
    private let reader: RegistryReader
    private let timeoutMilliseconds: Int

    /// - Parameter timeoutMilliseconds: milliseconds to wait for a reply before a sweep ends early.
    init(_ link: RedisLink, reader: RegistryReader, timeoutMilliseconds: Int) {
        self.link = link
        self.reader = reader
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// Removes the entries of all other instances whose liveness key has expired. Stops if Redis does not reply in time.
    func sweepDeadInstances() async {
        guard let otherInstances = await self.reader.otherInstances() else { return }
        let alive = await self.reader.incarnations(of: otherInstances)
        for instance in otherInstances where alive[instance] == nil {
            guard await self.removeEntries(of: instance) else { return }
        }
    }

    /// Removes all entries of an instance from Redis, unless it is alive.
    /// - Returns: `false` if Redis did not reply in time; entries may remain then.
    func removeEntries(of instance: String) async -> Bool {
        var cursor = "0"
        repeat {
            let scan = RESPCommand("HSCAN", "hub:flows:\(instance)", cursor, "COUNT", "\(Self.batch)")
            guard let reply = (try? await self.link.run([scan], within: self.timeoutMilliseconds))?.first else { return false }
            var fields: [RESPValue] = []
            if reply.errorReply?.hasPrefix("WRONGTYPE") == true {
                // Another program has written the key. The script deletes it.
                cursor = "0"
            } else {
                guard let page = reply.elements, page.count == 2, let next = page[0].text, let found = page[1].elements else {
                    return false
                }
                (cursor, fields) = (next, found)
            }
            // A field is a flow, or a flow and an account.
            let found = stride(from: 0, to: fields.count, by: 2).compactMap { index -> (flow: FlowID, field: String)? in
                guard let field = fields[index].text, let flow = FlowID(field.prefix { $0 != " " }) else { return nil }
                return (flow, field)
            }
            var call = RedisScript.sweepInstance.call(
                keys: ["hub:alive:\(instance)", "hub:flows:\(instance)", "hub:instances"]
                    + found.flatMap { [RegistryKeys.connections(of: $0.flow), RegistryKeys.legacyConnections(of: $0.flow)] })
            call.add(instance)
            for entry in found { call.add(entry.field) }
            guard
                let answer = (try? await self.link.run(RedisScript.sweepInstance, call, within: self.timeoutMilliseconds))?
                    .integer
            else { return false }
            if answer == 0 { return true }
        } while cursor != "0"
        return true
    }
}
