public import FlowCore

/// ``MappingPatternStore`` over Redis keys `pattern:mapping:{key}`: a JSON object with the mapping pattern, its
/// confidence and the account that owns it.
///
/// A value without an account, written by a program other than a hub, belongs to no account: it is not returned, and the
/// first account that puts a mapping pattern under the key replaces it and owns the key.
public final class RedisMappingPatternStore: MappingPatternStore {
    private let link: RedisLink
    private let timeoutMilliseconds: Int

    /// - Parameter timeoutMilliseconds: timeout for a reply in milliseconds.
    init(_ link: RedisLink, timeoutMilliseconds: Int) {
        self.link = link
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// The Redis key of the mapping pattern with this pattern key.
    private static func name(_ key: String) -> String { "pattern:mapping:\(key)" }

    /// Reads a mapping pattern from Redis; `nil` if there is none, or if it belongs to another account.
    public func pattern(_ key: String, account: String) async throws(MappingPatternError) -> MappingPattern? {
        let reply: RESPValue
        do throws(RedisError) {
            guard
                let first = try await self.link.run([RESPCommand("GET", Self.name(key))], within: self.timeoutMilliseconds).first
            else {
                throw RedisError.unexpected
            }
            if let errorReply = first.errorReply { throw RedisError(reply: errorReply) }
            reply = first
        } catch {
            throw .unavailable(error.description)
        }
        guard let json = reply.bytes.flatMap({ try? JSONText(validating: $0) }),
            json.member("account")?.stringValue == account, let pattern = json.member("pattern"),
            let confidence = json.member("confidence")
        else { return nil }
        return MappingPattern(pattern: pattern, confidence: confidence)
    }

    /// Writes a mapping pattern to Redis in place of the account's earlier one.
    /// - Parameter seconds: TTL of the mapping pattern.
    /// - Returns: `true` if the key is new; `false` if an earlier value was replaced.
    /// - Throws: `otherAccount` if the key belongs to another account.
    public func put(
        _ pattern: MappingPattern, key: String, account: String, seconds: Int
    ) async throws(MappingPatternError) -> Bool {
        let text = JSONText.object { writer in
            writer.key("pattern")
            writer.raw(pattern.pattern)
            writer.key("confidence")
            writer.raw(pattern.confidence)
            writer.key("account")
            writer.value(account)
        }
        var call = RedisScript.patternPut.call(keys: [Self.name(key)])
        call.add(account)
        call.add(text.bytes)
        call.add(seconds * 1_000)
        switch try await self.run(RedisScript.patternPut, call) {
        case 1: return true
        case 0: return false
        default: throw .otherAccount
        }
    }

    /// Removes a mapping pattern from Redis, if it belongs to the account.
    /// - Returns: whether the account had one under the key.
    public func remove(_ key: String, account: String) async throws(MappingPatternError) -> Bool {
        var call = RedisScript.patternRemove.call(keys: [Self.name(key)])
        call.add(account)
        return try await self.run(RedisScript.patternRemove, call) == 1
    }

    /// Calls a script that replies with a number. Any failure becomes ``MappingPatternError/unavailable(_:)``.
    private func run(_ script: RedisScript, _ call: RESPCommand) async throws(MappingPatternError) -> Int64 {
        do throws(RedisError) {
            guard let number = try await self.link.run(script, call, within: self.timeoutMilliseconds).integer else {
                throw RedisError.unexpected
            }
            return number
        } catch {
            throw .unavailable(error.description)
        }
    }
}
