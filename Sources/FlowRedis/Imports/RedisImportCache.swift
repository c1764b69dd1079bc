public import FlowCore

/// Cache of samples and schema analyses of imports in the Redis keys `import:sample:{import}` and
/// `schema:analysis:{import}`, as JSON that the legacy service can read. It does not check accounts: callers look up the
/// import in the ledger first.
public final class RedisImportCache: ImportCache {
    /// Maximum size of a cached value in bytes. A larger value is not cached.
    static let maximumBytes = 4_194_304

    private let link: RedisLink
    private let timeoutMilliseconds: Int

    /// - Parameter timeoutMilliseconds: milliseconds to wait for a reply before it counts as a miss.
    init(_ link: RedisLink, timeoutMilliseconds: Int) {
        self.link = link
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// The Redis key of a cached value.
    private static func name(_ kind: ImportCacheKind, _ id: ImportID) -> String { "\(kind.rawValue):\(id)" }

    /// Reads a cached value; `nil` if it is missing or not JSON, or if Redis does not reply in time.
    public func value(_ kind: ImportCacheKind, of id: ImportID) async -> JSONText? {
        let replies = try? await self.link.run([RESPCommand("GET", Self.name(kind, id))], within: self.timeoutMilliseconds)
        return replies?.first?.bytes.flatMap { try? JSONText(validating: $0) }
    }

    /// Sends a value to Redis without waiting. If it exceeds ``maximumBytes``, removes the import's values instead.
    public func put(_ value: JSONText, _ kind: ImportCacheKind, of id: ImportID, seconds: Int) {
        guard value.bytes.count <= Self.maximumBytes else { return self.remove(id) }
        var command = RESPCommand("SETEX", Self.name(kind, id), "\(seconds)")
        command.add(value.bytes)
        self.link.send([command])
    }

    /// Removes the sample and the analysis of an import, without waiting.
    public func remove(_ id: ImportID) {
        self.link.send([RESPCommand("DEL", Self.name(.sample, id), Self.name(.analysis, id))])
    }
}
