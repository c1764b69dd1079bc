public import FlowCore

/// `import:sample:{import}` and `schema:analysis:{import}`: JSON as older services read it. Whose import it is stands in the
/// ledger, which is asked first.
public final class RedisImportCache: ImportCache {
    /// A larger value is not worth its place; whoever asks reads it from the import.
    static let maximumBytes = 4_194_304

    private let link: RedisLink
    private let timeoutMilliseconds: Int

    /// - Parameter timeoutMilliseconds: milliseconds that an answer may take before it counts as a miss.
    init(_ link: RedisLink, timeoutMilliseconds: Int) {
        self.link = link
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    private static func name(_ kind: ImportCacheKind, _ id: ImportID) -> String { "\(kind.rawValue):\(id)" }

    public func value(_ kind: ImportCacheKind, of id: ImportID) async -> JSONText? {
        let replies = try? await self.link.run([RESPCommand("GET", Self.name(kind, id))], within: self.timeoutMilliseconds)
        return replies?.first?.bytes.flatMap { try? JSONText(validating: $0) }
    }

    public func put(_ value: JSONText, _ kind: ImportCacheKind, of id: ImportID, seconds: Int) {
        guard value.bytes.count <= Self.maximumBytes else { return self.remove(id) }
        var command = RESPCommand("SETEX", Self.name(kind, id), "\(seconds)")
        command.add(value.bytes)
        self.link.send([command])
    }

    public func remove(_ id: ImportID) {
        self.link.send([RESPCommand("DEL", Self.name(.sample, id), Self.name(.analysis, id))])
    }
}
