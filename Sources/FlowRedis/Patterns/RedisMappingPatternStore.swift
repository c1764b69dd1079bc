public import FlowCore
import Synchronization

/// ``MappingPatternStore`` over Redis keys `pattern:mapping:{name}`, with the name of ``AccountName``: a JSON object with the
/// mapping pattern, its confidence, its account, its expiry and a MAC over all of them.
///
/// A value without a valid MAC counts as absent: another program wrote it, such as the legacy service or an earlier version of
/// the hub. The next pattern that is put under its key replaces it.
public final class RedisMappingPatternStore: MappingPatternStore {
    private let link: RedisLink
    private let authenticator: MessageAuthenticator
    private let limits: MappingPatternLimits
    private let timeoutMilliseconds: Int
    private let now: @Sendable () -> Timestamp
    private let evicted = Atomic<Int>(0)

    /// - Parameters:
    ///   - timeoutMilliseconds: timeout for a reply in milliseconds.
    ///   - now: the wall clock. A pattern counts as absent after its expiry by this clock, also if a copy of it was written to
    ///     Redis again.
    init(
        _ link: RedisLink, authenticator: MessageAuthenticator, limits: MappingPatternLimits, timeoutMilliseconds: Int,
        now: @escaping @Sendable () -> Timestamp
    ) {
        self.link = link
        self.authenticator = authenticator
        self.limits = limits
        self.timeoutMilliseconds = timeoutMilliseconds
        self.now = now
    }

    public var evictions: Int { self.evicted.load(ordering: .relaxed) }

    /// Reads a mapping pattern from Redis; `nil` if there is none with a valid MAC.
    public func pattern(_ key: String, account: String) async throws(MappingPatternError) -> MappingPattern? {
        let reply: RESPValue
        do throws(RedisError) {
            guard
                let first = try await self.link.run(
                    [RESPCommand("GET", Self.keys(key, account)[0])], within: self.timeoutMilliseconds
                ).first
            else {
                throw RedisError.unexpected
            }
            // The key of another type is not the hub's.
            if let errorReply = first.errorReply, !errorReply.hasPrefix("WRONGTYPE") { throw RedisError(reply: errorReply) }
            reply = first
        } catch {
            throw .unavailable(error.description)
        }
        return reply.bytes.flatMap { self.decode($0, key: key, account: account) }
    }

    /// Writes a mapping pattern to Redis in place of the account's earlier one.
    /// - Parameter seconds: TTL of the mapping pattern.
    /// - Returns: `true` if the key is new; `false` if a mapping pattern with a valid MAC was replaced.
    public func put(
        _ pattern: MappingPattern, key: String, account: String, seconds: Int
    ) async throws(MappingPatternError) -> Bool {
        var call = RedisScript.patternPut.call(keys: Self.keys(key, account))
        call.add(key)
        call.add(self.encode(pattern, key: key, account: account, until: self.now().advanced(bySeconds: Int64(seconds))).bytes)
        call.add(pattern.cost(key: key, account: account))
        call.add(seconds * 1_000)
        call.add(self.limits.accountPatterns)
        call.add(self.limits.accountBytes)
        call.add(Self.prefix + AccountName.stored("", account: account))
        let reply = try await self.run(RedisScript.patternPut, call)
        guard let parts = reply.elements, parts.count == 2, let evicted = parts[1].integer else {
            throw .unavailable(RedisError.unexpected.description)
        }
        self.evicted.add(Int(evicted), ordering: .relaxed)
        return parts[0].bytes.flatMap { self.decode($0, key: key, account: account) } == nil
    }

    /// Removes the account's mapping pattern from Redis. A value without a valid MAC stays.
    /// - Returns: whether the account had one under the key.
    public func remove(_ key: String, account: String) async throws(MappingPatternError) -> Bool {
        guard try await self.pattern(key, account: account) != nil else { return false }
        var call = RedisScript.patternRemove.call(keys: Self.keys(key, account))
        call.add(key)
        return try await self.run(RedisScript.patternRemove, call).integer == 1
    }

    // MARK: Private

    private static let prefix = "pattern:mapping:"

    /// The Redis keys of the pattern scripts; the first one has the mapping pattern.
    private static func keys(_ key: String, _ account: String) -> [String] {
        [
            Self.prefix + AccountName.stored(key, account: account), "hub:patterns:\(account)", "hub:pattern-bytes:\(account)",
        ]
    }

    /// The value of a mapping pattern in Redis.
    private func encode(_ pattern: MappingPattern, key: String, account: String, until: Timestamp) -> JSONText {
        let mac = self.authenticator.mac(
            ofEntry: "pattern", Self.context(pattern, key, account, until.milliseconds), pattern.pattern.bytes)
        return JSONText.object { writer in
            writer.key("pattern")
            writer.raw(pattern.pattern)
            writer.key("confidence")
            writer.raw(pattern.confidence)
            writer.key("account")
            writer.value(account)
            writer.key("expires")
            writer.value(until.milliseconds)
            writer.key("mac")
            writer.value(String(decoding: mac, as: UTF8.self))
        }
    }

    /// The mapping pattern in a value; `nil` if its MAC is missing or wrong, or it has expired.
    private func decode(_ bytes: [UInt8], key: String, account: String) -> MappingPattern? {
        guard let json = try? JSONText(validating: bytes), let text = json.member("pattern"),
            let confidence = json.member("confidence"), let until = json.member("expires")?.intValue,
            let mac = json.member("mac")?.stringValue, until > self.now().milliseconds,
            let pattern = MappingPattern(pattern: text, confidence: confidence),
            self.authenticator.isAuthentic(
                entry: "pattern", Self.context(pattern, key, account, until), text.bytes, mac: Array(mac.utf8))
        else { return nil }
        return pattern
    }

    /// What the MAC of a mapping pattern covers, besides the pattern itself.
    private static func context(_ pattern: MappingPattern, _ key: String, _ account: String, _ until: Int64) -> [String] {
        [account, key, "\(until)", pattern.confidence.string]
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
