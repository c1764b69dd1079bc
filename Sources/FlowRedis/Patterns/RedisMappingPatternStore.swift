public import FlowCore
import Synchronization

/// ``MappingPatternStore`` over Redis keys `pattern:mapping:{name}` and `hub:pattern:{name}`, with the name of ``AccountName``;
/// see ``PatternEntry``.
///
/// A mapping that another program wrote counts as absent, except one of the legacy service for its account. The next pattern
/// that is put under its key replaces it.
public final class RedisMappingPatternStore: MappingPatternStore {
    struct Configuration: Sendable {
        /// Limits of an account's mapping patterns.
        var limits = MappingPatternLimits()
        /// The account that shares its names with the legacy service; see ``AccountName``.
        var legacyAccount: String?
        /// Maximum bytes of a mapping that the legacy service wrote; `nil`: such mappings are absent. They are only ever those
        /// of the legacy account.
        var legacyBytes: Int?
    }

    private let link: RedisLink
    private let authenticator: MessageAuthenticator
    private let configuration: Configuration
    private let timeoutMilliseconds: Int
    private let now: @Sendable () -> Timestamp
    private let evicted = Atomic<Int>(0)

    /// - Parameters:
    ///   - timeoutMilliseconds: timeout for a reply in milliseconds.
    ///   - now: the wall clock. A pattern counts as absent after its expiry by this clock, also if a copy of it was written to
    ///     Redis again.
    init(
        _ link: RedisLink, authenticator: MessageAuthenticator, configuration: Configuration, timeoutMilliseconds: Int,
        now: @escaping @Sendable () -> Timestamp
    ) {
        self.link = link
        self.authenticator = authenticator
        self.configuration = configuration
        self.timeoutMilliseconds = timeoutMilliseconds
        self.now = now
    }

    public var evictions: Int { self.evicted.load(ordering: .relaxed) }

    /// Reads a mapping pattern from Redis; `nil` if there is none with a valid MAC, nor one of the legacy service.
    public func pattern(_ key: String, account: String) async throws(MappingPatternError) -> MappingPattern? {
        let keys = self.keys(key, account)
        // One command, so that both values are from the same write. It returns nothing for a key of another type.
        let values: [RESPValue]
        do throws(RedisError) {
            let replies = try await self.link.run([RESPCommand("MGET", keys[0], keys[1])], within: self.timeoutMilliseconds)
            if let errorReply = replies.first?.errorReply { throw RedisError(reply: errorReply) }
            guard let elements = replies.first?.elements, elements.count == 2 else { throw RedisError.unexpected }
            values = elements
        } catch {
            throw .unavailable(error.description)
        }
        return self.entry(key, account).decode(values[0].bytes, companion: values[1].bytes, now: self.now())
    }

    /// Writes a mapping pattern to Redis in place of the account's earlier one.
    /// - Parameter seconds: TTL of the mapping pattern.
    /// - Returns: `true` if the key is new; `false` if a mapping pattern was replaced.
    public func put(
        _ pattern: MappingPattern, key: String, account: String, seconds: Int
    ) async throws(MappingPatternError) -> Bool {
        let entry = self.entry(key, account)
        var call = RedisScript.patternPut.call(keys: self.keys(key, account))
        call.add(key)
        call.add(pattern.pattern.bytes)
        call.add(entry.companion(of: pattern, until: self.now().advanced(bySeconds: Int64(seconds))).bytes)
        call.add(pattern.cost(key: key, account: account))
        call.add(seconds * 1_000)
        call.add(self.configuration.limits.accountPatterns)
        call.add(self.configuration.limits.accountBytes)
        call.add(self.name("", account))
        let reply = try await self.run(RedisScript.patternPut, call)
        guard let parts = reply.elements, parts.count == 3, let evicted = parts[2].integer else {
            throw .unavailable(RedisError.unexpected.description)
        }
        self.evicted.add(Int(evicted), ordering: .relaxed)
        return entry.decode(parts[0].bytes, companion: parts[1].bytes, now: self.now()) == nil
    }

    /// Removes the account's mapping pattern from Redis. A value that is no pattern of the account stays.
    /// - Returns: whether the account had one under the key.
    public func remove(_ key: String, account: String) async throws(MappingPatternError) -> Bool {
        guard try await self.pattern(key, account: account) != nil else { return false }
        var call = RedisScript.patternRemove.call(keys: self.keys(key, account))
        call.add(key)
        return try await self.run(RedisScript.patternRemove, call).integer == 1
    }

    // MARK: Private

    private func name(_ key: String, _ account: String) -> String {
        AccountName.stored(key, account: account, legacyAccount: self.configuration.legacyAccount)
    }

    /// The Redis keys of the pattern scripts; the first one has the mapping, the second one its companion.
    private func keys(_ key: String, _ account: String) -> [String] {
        let name = self.name(key, account)
        return ["pattern:mapping:\(name)", "hub:pattern:\(name)", "hub:patterns:\(account)", "hub:pattern-bytes:\(account)"]
    }

    /// Encodes and decodes the account's values under a key.
    private func entry(_ key: String, _ account: String) -> PatternEntry {
        PatternEntry(
            authenticator: self.authenticator, key: key, account: account,
            legacyBytes: account == self.configuration.legacyAccount ? self.configuration.legacyBytes : nil)
    }

    /// Calls a script. Any failure becomes ``MappingPatternError/unavailable(_:)``.
    private func run(_ script: RedisScript, _ call: RESPCommand) async throws(MappingPatternError) -> RESPValue {
        do throws(RedisError) {
            return try await self.link.run(script, call, within: self.timeoutMilliseconds)
        } catch {
            throw .unavailable(error.description)
        }
    }
}
