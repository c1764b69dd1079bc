public import FlowCore

/// Cache of samples and schema analyses of imports in the Redis keys `import:sample:{import}` and
/// `schema:analysis:{import}`, as JSON that the legacy service can read. Their MACs are in keys of their own,
/// `hub:mac:import:sample:{import}` and `hub:mac:schema:analysis:{import}`: a value without its MAC counts as a miss. It does
/// not check accounts: callers look up the import in the ledger first.
public final class RedisImportCache: ImportCache {
    /// Maximum size of a cached value in bytes. A larger value is not cached.
    static let maximumBytes = 4_194_304

    private let link: RedisLink
    private let authenticator: MessageAuthenticator
    private let timeoutMilliseconds: Int

    /// - Parameter timeoutMilliseconds: milliseconds to wait for a reply before it counts as a miss.
    init(_ link: RedisLink, authenticator: MessageAuthenticator, timeoutMilliseconds: Int) {
        self.link = link
        self.authenticator = authenticator
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// The Redis key of a cached value.
    private static func name(_ kind: ImportCacheKind, _ id: ImportID) -> String { "\(kind.rawValue):\(id)" }
    /// The Redis key of its MAC.
    private static func macName(_ kind: ImportCacheKind, _ id: ImportID) -> String { "hub:mac:\(kind.rawValue):\(id)" }

    /// Reads a cached value; `nil` if it is missing or not JSON, its MAC is missing or wrong, or Redis does not reply in time.
    public func value(_ kind: ImportCacheKind, of id: ImportID) async -> JSONText? {
        let replies = try? await self.link.run(
            [RESPCommand("GET", Self.name(kind, id)), RESPCommand("GET", Self.macName(kind, id))],
            within: self.timeoutMilliseconds)
        guard let replies, replies.count == 2, let value = replies[0].bytes, let mac = replies[1].bytes,
            self.authenticator.isAuthentic(entry: kind.rawValue, ["\(id)"], value, mac: mac)
        else { return nil }
        return try? JSONText(validating: value)
    }

    /// Sends a value to Redis without waiting. If it exceeds ``maximumBytes``, removes the import's values instead.
    public func put(_ value: JSONText, _ kind: ImportCacheKind, of id: ImportID, seconds: Int) {
        guard value.bytes.count <= Self.maximumBytes else { return self.remove(id) }
        var command = RESPCommand("SETEX", Self.name(kind, id), "\(seconds)")
        command.add(value.bytes)
        var macCommand = RESPCommand("SETEX", Self.macName(kind, id), "\(seconds)")
        macCommand.add(self.authenticator.mac(ofEntry: kind.rawValue, ["\(id)"], value.bytes))
        self.link.send([command, macCommand])
    }

    /// Removes the sample and the analysis of an import, without waiting.
    public func remove(_ id: ImportID) {
        let keys = ImportCacheKind.allCases.flatMap { [Self.name($0, id), Self.macName($0, id)] }
        var command = RESPCommand("DEL")
        for key in keys { command.add(key) }
        self.link.send([command])
    }
}
