public import FlowCore
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Looks a Redis over: whether the hub can work with it, and what its operator should know. Leaves nothing behind.
public struct RedisDiagnostics: Sendable {
    /// `SET … KEEPTTL`, which locks are renewed by, came with 6.0.
    private static let oldestServer = 6
    /// Seconds by which clocks may differ before locks and time stamps of the instances disagree.
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
        case .credentials: "Check user and password in REDIS_URL, or UPSTASH_REDIS_TOKEN, and the rights of that user."
        case .connection, .timeout: "Check host and port in REDIS_URL, that the server runs, and whether it wants rediss://."
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
                "\(self.settings.usesTLS ? "reached by TLS" : "reached"), an answer in \(duration.formatted)",
                advice: self.settings.usesTLS || self.isLoopback
                    ? "" : "Anybody on the way can read along: use rediss:// if others may.")
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
        else { return DoctorFinding(.warning, "redis.version", "the server does not tell its version") }
        return major >= Self.oldestServer
            ? DoctorFinding(.ok, "redis.version", "Redis \(version)")
            : DoctorFinding(.failure, "redis.version", "Redis \(version) is too old", advice: "The hub needs Redis 6.0 or later.")
    }

    private static func eviction(_ info: String) -> DoctorFinding {
        let policy = Self.value("maxmemory_policy", in: info) ?? "unknown"
        guard (Self.value("maxmemory", in: info) ?? "0") != "0" else {
            return DoctorFinding(.ok, "redis.memory", "no limit is set")
        }
        guard policy.hasPrefix("noeviction") else {
            return DoctorFinding(
                .warning, "redis.memory", "when memory is short, Redis drops keys (\(policy)), locks and the registry among them",
                advice: "Give it room, or set maxmemory-policy to noeviction. Fencing numbers stay safe either way.")
        }
        return DoctorFinding(.ok, "redis.memory", "limited, and nothing is dropped (\(policy))")
    }

    private func clock(_ reply: RESPValue) -> DoctorFinding? {
        guard let seconds = reply.elements?.first?.text.flatMap({ Int64($0) }) else { return nil }
        let skew = abs(seconds - self.now().seconds)
        return skew <= Self.tolerableSkew
            ? DoctorFinding(.ok, "redis.clock", "its clock and this machine's agree")
            : DoctorFinding(
                .warning, "redis.clock", "its clock and this machine's differ by \(skew) s",
                advice: "Keep both by NTP: locks run out by these clocks.")
    }

    /// Scripts and publications, which a restricted user may lack.
    private static func rights(_ link: RedisLink) async throws(RedisError) -> DoctorFinding {
        let replies = try await link.run([
            RESPCommand("EVAL", "return 1", "0"), RESPCommand("PUBLISH", "hub:canary:doctor", "1"),
        ])
        guard let errorReply = replies.compactMap(\.errorReply).first else {
            return DoctorFinding(.ok, "redis.rights", "scripts and publications are allowed")
        }
        return DoctorFinding(
            .failure, "redis.rights", "\(RedisError(reply: errorReply))",
            advice: "The user needs +@all on ~* and &*, or at least scripts, hashes, strings, sets and pub/sub.")
    }
}

extension Duration {
    fileprivate var formatted: String {
        let (seconds, attoseconds) = self.components
        let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        return "\(microseconds / 1_000).\(microseconds / 100 % 10) ms"
    }
}
