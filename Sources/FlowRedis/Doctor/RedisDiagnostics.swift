public import FlowCore
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Diagnostics of Redis for `flowhub doctor`: whether the hub can use it, and what an operator should know. Leaves no
/// data behind.
public struct RedisDiagnostics: Sendable {
    /// Oldest supported major version. `AUTH` with a user name needs the access control lists of 6.0.
    private static let oldestServer = 6
    /// Maximum clock difference in seconds. Beyond it, lock expiry and time stamps differ between instances.
    private static let tolerableSkew: Int64 = 2

    private let settings: RedisSettings
    private let now: @Sendable () -> Timestamp

    public init(_ settings: RedisSettings, now: @escaping @Sendable () -> Timestamp) {
        self.settings = settings
        self.now = now
    }

    public func run() async -> [DoctorFinding] {
        let (outcomes, continuation) = AsyncStream.makeStream(of: RedisError?.self)
        let link: RedisLink
        do throws(RedisError) {
            link = try RedisLink(
                self.settings, name: "flowhub:doctor", isSubscriber: false,
                loop: MultiThreadedEventLoopGroup.singleton.next(),
                logger: Logger(label: "doctor") { _ in SwiftLogNoOpLogHandler() },
                events: .init(ready: { continuation.yield(nil) }, failed: { continuation.yield($0) }))
        } catch {
            return [DoctorFinding(.failure, "redis.connection", "\(error)")]
        }
        link.start()
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

    private static func advice(for error: RedisError) -> String {
        switch error.code {
        case .credentials: "Check user and password in REDIS_URL (or UPSTASH_REDIS_TOKEN), and the permissions of the user."
        case .connection, .timeout:
            "Check host and port in REDIS_URL, that the server is running, and whether it requires TLS (rediss://)."
        default: ""
        }
    }

    private func diagnose(_ link: RedisLink) async throws(RedisError) -> [DoctorFinding] {
        let start = ContinuousClock.now
        let replies = try await link.run([RESPCommand("INFO", "server"), RESPCommand("INFO", "memory"), RESPCommand("TIME")])
        let duration = ContinuousClock.now - start
        var findings = [
            DoctorFinding(
                .ok, "redis.connection",
                "connected \(self.settings.usesTLS ? "over TLS" : "without TLS"), reply time \(duration.formatted)",
                advice: self.settings.usesTLS || self.isLoopback
                    ? "" : "Traffic is not encrypted. Use rediss:// unless the network is trusted.")
        ]
        findings.append(Self.version(replies[0].text ?? ""))
        findings.append(Self.eviction(replies[1].text ?? ""))
        if let finding = self.clock(replies[2]) { findings.append(finding) }
        findings.append(try await Self.rights(link))
        return findings
    }

    private var isLoopback: Bool { ["127.0.0.1", "::1", "localhost"].contains(self.settings.host) }

    private static func value(_ name: String, in info: String) -> String? {
        info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }.map { String($0.dropFirst(name.count + 1)) }
    }

    private static func version(_ info: String) -> DoctorFinding {
        guard let version = Self.value("redis_version", in: info),
            let major = version.split(separator: ".").first.flatMap({ Int($0) })
        else { return DoctorFinding(.warning, "redis.version", "the server does not report its version") }
        return major >= Self.oldestServer
            ? DoctorFinding(.ok, "redis.version", "Redis \(version)")
            : DoctorFinding(
                .failure, "redis.version", "Redis \(version) is not supported", advice: "Upgrade to Redis 6.0 or later.")
    }

    private static func eviction(_ info: String) -> DoctorFinding {
        let policy = Self.value("maxmemory_policy", in: info) ?? "unknown"
        guard (Self.value("maxmemory", in: info) ?? "0") != "0" else {
            return DoctorFinding(.ok, "redis.memory", "no memory limit is set (maxmemory 0)")
        }
        guard policy.hasPrefix("noeviction") else {
            return DoctorFinding(
                .warning, "redis.memory",
                "at its memory limit, Redis evicts keys, including locks and the connection registry (\(policy))",
                advice: "Increase maxmemory, or set maxmemory-policy to noeviction. Fencing tokens are not affected.")
        }
        return DoctorFinding(.ok, "redis.memory", "memory limit is set, keys are not evicted (\(policy))")
    }

    private func clock(_ reply: RESPValue) -> DoctorFinding? {
        guard let seconds = reply.elements?.first?.text.flatMap({ Int64($0) }) else { return nil }
        let skew = abs(seconds - self.now().seconds)
        return skew <= Self.tolerableSkew
            ? DoctorFinding(.ok, "redis.clock", "clock differs from this host's by at most \(Self.tolerableSkew) s")
            : DoctorFinding(
                .warning, "redis.clock", "clock differs from this host's by \(skew) s",
                advice: "Synchronize both clocks with NTP: lock expiry depends on them.")
    }

    /// Checks the permissions for scripts and PUBLISH, which a restricted user may lack.
    private static func rights(_ link: RedisLink) async throws(RedisError) -> DoctorFinding {
        let replies = try await link.run([
            RESPCommand("EVAL", "return 1", "0"), RESPCommand("PUBLISH", "hub:canary:doctor", "1"),
        ])
        guard let errorReply = replies.compactMap(\.errorReply).first else {
            return DoctorFinding(.ok, "redis.rights", "scripts and PUBLISH are permitted")
        }
        return DoctorFinding(
            .failure, "redis.rights", "\(RedisError(reply: errorReply))",
            advice: "Grant the user +@all on ~* and &*, or at least scripting, hash, string, set and pub/sub commands.")
    }
}

extension Duration {
    fileprivate var formatted: String {
        let (seconds, attoseconds) = self.components
        let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        return "\(microseconds / 1_000).\(microseconds / 100 % 10) ms"
    }
}
