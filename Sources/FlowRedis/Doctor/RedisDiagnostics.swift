public import FlowCore
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Diagnostics of Redis for `flowhub doctor`: whether the hub can use it, and what an operator should know. Leaves no
/// data behind.
public struct RedisDiagnostics: Sendable {
    /// Oldest supported major version of Redis. `AUTH` with a user name needs the access control lists of Redis 6.0.
    private static let oldestServer = 6
    /// Maximum difference in seconds between the clocks of Redis and this host. A larger one is a warning: lock expiry
    /// and time stamps then differ between instances.
    private static let tolerableSkew: Int64 = 2

    private let settings: RedisSettings
    private let foreign: ForeignPolicy
    private let now: @Sendable () -> Timestamp

    /// - Parameter foreign: policy for foreign messages, which decides what the user must be permitted.
    public init(_ settings: RedisSettings, foreign: ForeignPolicy, now: @escaping @Sendable () -> Timestamp) {
        self.settings = settings
        self.foreign = foreign
        self.now = now
    }

    /// Connects to Redis and runs all checks.
    /// - Returns: one finding per check; a single failure if the connection or a command of the checks fails.
    public func run() async -> [DoctorFinding] {
        let (outcomes, continuation) = AsyncStream.makeStream(of: RedisError?.self)
        let link: RedisLink
        do throws(RedisError) {
            link = try RedisLink(
                self.settings, name: "flowhub:doctor", isSubscriber: false,
                loop: MultiThreadedEventLoopGroup.singleton.next(),
                logger: Logger(label: "doctor") { _ in SwiftLogNoOpLogHandler() })
        } catch {
            return [DoctorFinding(.failure, "redis.connection", "\(error)")]
        }
        link.start(.init(ready: { continuation.yield(nil) }, failed: { continuation.yield($0) }))
        let failure = await outcomes.first { _ in true } ?? nil
        var findings: [DoctorFinding]
        if let failure {
            findings = [DoctorFinding(.failure, "redis.connection", "\(failure)", advice: Self.advice(for: failure))]
        } else {
            do throws(RedisError) {
                findings = try await self.diagnose(link)
            } catch {
                findings = [DoctorFinding(.failure, "redis.commands", "\(error)", advice: Self.advice(for: error))]
            }
        }
        await link.stop()
        return findings
    }

    /// The advice to an operator for an error; empty if there is none.
    private static func advice(for error: RedisError) -> String {
        switch error.code {
        case .credentials:
            "Check the user and password in REDIS_URL (or UPSTASH_REDIS_TOKEN), and that user's permissions in Redis."
        case .connection, .timeout:
            "Check the host and port in REDIS_URL, that Redis is running there, and whether it requires TLS (rediss://)."
        default: ""
        }
    }

    /// Runs all checks over a connection that is ready.
    private func diagnose(_ link: RedisLink) async throws(RedisError) -> [DoctorFinding] {
        let start = ContinuousClock.now
        let replies = try await link.run([RESPCommand("INFO", "server"), RESPCommand("INFO", "memory"), RESPCommand("TIME")])
        let duration = ContinuousClock.now - start
        var findings = [
            DoctorFinding(
                .ok, "redis.connection",
                "connected to Redis \(self.settings.usesTLS ? "over TLS" : "without TLS"), reply time \(duration.formatted)",
                advice: self.settings.usesTLS || self.isLoopback
                    ? "" : "Traffic to Redis is not encrypted. Use rediss:// in REDIS_URL unless the network is trusted.")
        ]
        findings.append(Self.version(replies[0].text ?? ""))
        findings.append(Self.eviction(replies[1].text ?? ""))
        if let finding = self.clock(replies[2]) { findings.append(finding) }
        findings += try await Self.rights(link, appliesForeign: self.foreign == .apply)
        return findings
    }

    /// Whether Redis runs on this host.
    private var isLoopback: Bool { ["127.0.0.1", "::1", "localhost"].contains(self.settings.host) }

    /// The value of a field in a reply to `INFO`; `nil` if the field is missing.
    private static func value(_ name: String, in info: String) -> String? {
        info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }.map { String($0.dropFirst(name.count + 1)) }
    }

    /// Checks the server's version in a reply to `INFO server`.
    private static func version(_ info: String) -> DoctorFinding {
        guard let version = Self.value("redis_version", in: info),
            let major = version.split(separator: ".").first.flatMap({ Int($0) })
        else {
            return DoctorFinding(
                .warning, "redis.version", "Redis does not report its version (INFO server)",
                advice: "Check that the server is Redis 6.0 or later.")
        }
        return major >= Self.oldestServer
            ? DoctorFinding(.ok, "redis.version", "Redis \(version)")
            : DoctorFinding(
                .failure, "redis.version", "Redis \(version) is not supported", advice: "Upgrade to Redis 6.0 or later.")
    }

    /// Checks in a reply to `INFO memory` whether Redis may evict keys.
    private static func eviction(_ info: String) -> DoctorFinding {
        let policy = Self.value("maxmemory_policy", in: info) ?? "unknown"
        guard (Self.value("maxmemory", in: info) ?? "0") != "0" else {
            return DoctorFinding(.ok, "redis.memory", "Redis has no memory limit (maxmemory 0)")
        }
        guard policy.hasPrefix("noeviction") else {
            return DoctorFinding(
                .warning, "redis.memory",
                "at its memory limit, Redis evicts keys, such as locks and registry entries (maxmemory-policy \(policy))",
                advice: "Increase Redis's maxmemory, or set its maxmemory-policy to noeviction. "
                    + "Fencing tokens are not affected.")
        }
        return DoctorFinding(
            .ok, "redis.memory", "Redis has a memory limit and evicts no keys (maxmemory-policy \(policy))")
    }

    /// Compares the server's clock, in a reply to `TIME`, with this host's; `nil` if the reply has no time.
    private func clock(_ reply: RESPValue) -> DoctorFinding? {
        guard let seconds = reply.elements?.first?.text.flatMap({ Int64($0) }) else { return nil }
        let skew = abs(seconds - self.now().seconds)
        return skew <= Self.tolerableSkew
            ? DoctorFinding(.ok, "redis.clock", "the clocks of Redis and this host differ by at most \(Self.tolerableSkew) s")
            : DoctorFinding(
                .warning, "redis.clock", "the clocks of Redis and this host differ by \(skew) s",
                advice: "Synchronize both clocks with NTP: lock expiry depends on them.")
    }

    /// Prefixes of the hub's keys.
    private static let keyPrefixes = [
        "flow:state:", "flow:meta:", "flow:last:", "hub:", "sse:connections:", "lock:", "pattern:mapping:", "metric:",
        "import:sample:", "schema:analysis:",
    ]
    /// Prefixes of the hub's channels.
    private static let channelPrefixes = ["hub:canary:", "hub:control:", "flow:updates:"]

    /// Checks the permissions that a restricted user may lack: commands, keys and channels. Uses random names, and deletes the
    /// keys that it creates. Afterwards the connection can only subscribe.
    /// - Parameter appliesForeign: whether also to check those that only ``ForeignListener`` needs.
    private static func rights(_ link: RedisLink, appliesForeign: Bool) async throws(RedisError) -> [DoctorFinding] {
        let name = "doctor-\(RandomText.base36(12))"
        let keys = (1...4).map { "metric:\(name)-\($0)" }
        var attempts: [(what: String, command: RESPCommand)] = [
            ("EVAL", RESPCommand("EVAL", "return 1", "0")),
            ("HSET", RESPCommand("HSET", keys[0], "a", "1")), ("SADD", RESPCommand("SADD", keys[1], "a")),
            ("INCRBY", RESPCommand("INCRBY", keys[2], "1")), ("SETEX", RESPCommand("SETEX", keys[3], "10", "1")),
            ("EXPIRE", RESPCommand("EXPIRE", keys[0], "10")), ("HGETALL", RESPCommand("HGETALL", keys[0])),
            ("HDEL", RESPCommand("HDEL", keys[0], "a")), ("SRANDMEMBER", RESPCommand("SRANDMEMBER", keys[1], "1")),
            ("GETRANGE", RESPCommand("GETRANGE", keys[2], "0", "1")), ("PTTL", RESPCommand("PTTL", keys[2])),
            ("SREM", RESPCommand("SREM", keys[1], "a")), ("GET", RESPCommand("GET", keys[2])),
            ("DEL", RESPCommand("DEL", keys[0], keys[1], keys[2], keys[3])),
        ]
        // XX: sets no key that does not exist.
        for prefix in Self.keyPrefixes { attempts.append(("SET \(prefix)*", RESPCommand("SET", prefix + name, "1", "XX"))) }
        for prefix in Self.channelPrefixes { attempts.append(("PUBLISH \(prefix)*", RESPCommand("PUBLISH", prefix + name, "1"))) }
        let channels = Self.channelPrefixes.map { ("SUBSCRIBE \($0)*", RESPCommand("SUBSCRIBE", $0 + name)) }
        guard appliesForeign else { return [Self.common(try await Self.refusals(attempts + channels, link))] }
        // PUBSUB is rejected after a SUBSCRIBE. PSUBSCRIBE comes last, since messages of services follow it. Its pattern is the
        // hub's: a user may be permitted this one and no other.
        let pubsub = ("PUBSUB", RESPCommand("PUBSUB", "NUMSUB", "hub:control:all"))
        let all = ("PSUBSCRIBE \(ForeignListener.pattern)", RESPCommand("PSUBSCRIBE", ForeignListener.pattern))
        let refused = try await Self.refusals(attempts + [pubsub] + channels + [all], link)
        return [
            Self.common(refused.filter { ![pubsub.0, all.0].contains($0.what) }),
            Self.foreign(refused.filter { [pubsub.0, all.0].contains($0.what) }),
        ]
    }

    /// Runs the commands.
    /// - Returns: those to which the server replied with an error.
    private static func refusals(
        _ attempts: [(what: String, command: RESPCommand)], _ link: RedisLink
    ) async throws(RedisError) -> [(what: String, reply: String)] {
        let replies = try await link.run(attempts.map(\.command))
        return zip(attempts, replies).compactMap { attempt, reply in reply.errorReply.map { (attempt.what, $0) } }
    }

    private static func common(_ refused: [(what: String, reply: String)]) -> DoctorFinding {
        guard let first = refused.first else {
            return DoctorFinding(.ok, "redis.rights", "the Redis user may use all commands, keys and channels of the hub")
        }
        return DoctorFinding(
            .failure, "redis.rights",
            "the Redis user may not: \(refused.map(\.what).joined(separator: ", ")). \(RedisError(reply: first.reply))",
            advice: "Grant the Redis user +@all on keys ~* and channels &*, "
                + "or at least the scripting, hash, string, set and pub/sub commands.")
    }

    private static func foreign(_ refused: [(what: String, reply: String)]) -> DoctorFinding {
        guard let first = refused.first else {
            return DoctorFinding(
                .ok, "redis.foreign", "the Redis user may receive the messages of services (FLOWHUB_SEED_UPDATES=apply)")
        }
        return DoctorFinding(
            .failure, "redis.foreign",
            "the Redis user may not: \(refused.map(\.what).joined(separator: ", ")). \(RedisError(reply: first.reply))",
            advice: "Grant the Redis user +psubscribe, +pubsub and the channels &\(ForeignListener.pattern), "
                + "or set FLOWHUB_SEED_UPDATES=deliver.")
    }
}

extension Duration {
    /// The duration in milliseconds with one decimal.
    fileprivate var formatted: String {
        let (seconds, attoseconds) = self.components
        let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        return "\(microseconds / 1_000).\(microseconds / 100 % 10) ms"
    }
}
