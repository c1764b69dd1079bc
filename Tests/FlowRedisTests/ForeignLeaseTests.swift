import FlowCore
import FlowTestKit
import NIOPosix
import Testing

@testable import FlowRedis

/// Which instance applies foreign updates, beside holders of the lease that are alive, dead, or of an earlier release.
@Suite(.serialized, .redis()) struct ForeignLeaseTests {
    private static func applier() -> ForeignUpdateApplier {
        var limits = ForeignUpdateApplier.Limits()
        limits.recentSeconds = 1
        return ForeignUpdateApplier(
            account: "1", limits: limits, monitor: ForeignMessageMonitor(logger: logger), now: now, logger: logger)
    }

    private static func running(
        _ url: String, _ body: (ForeignUpdateApplier) async throws -> Void
    ) async throws {
        let applier = Self.applier()
        try await withServices(url, applier: applier) { configuration, _ in
            configuration.foreign = .apply
            configuration.foreignLeaseMilliseconds = 500
        } _: { _ in
            try await body(applier)
        }
    }

    private static func publish(_ server: RedisServer) async throws {
        try await server.command(["PUBLISH", "flow:updates:f", #"{"type":"state_update","updates":{"n":1}}"#])
    }

    @Test func liveHolderKeepsLeaseAndDeadOneLosesIt() async throws {
        let server = try SharedRedis.server
        for holder in ["other", "other/1"] {
            try await SharedRedis.flush()
            try await server.command(["SET", "hub:apply", holder, "PX", "60000"])
            let other = try RedisLink(
                settings(server.url), name: "other", isSubscriber: true, loop: MultiThreadedEventLoopGroup.singleton.next(),
                logger: logger)
            other.start(.init(ready: { other.send([RESPCommand("SUBSCRIBE", "hub:control:other")]) }))
            do {
                try await eventually("the holder to be alive") {
                    try await server.command(["PUBSUB", "NUMSUB", "hub:control:other"]).hasSuffix("1")
                }
                try await Self.running(server.url) { applier in
                    try await Self.publish(server)
                    // It is the holder's, so it is kept for a second only.
                    try await eventually("the update to be heard") { applier.hasUnapplied }
                    try await eventually("the update to be another's") { !applier.hasRecent() }
                    #expect(!applier.isApplying)
                    await other.stop()
                    try await Self.publish(server)
                    try await eventually("the lease", within: .seconds(5)) { applier.isApplying && applier.pendingCount == 1 }
                    #expect(try await server.command(["GET", "hub:apply"]).hasPrefix("i/"))
                }
            } catch {
                await other.stop()
                throw error
            }
        }
    }

    /// Without the privilege to ask whether the holder is alive, it counts as alive until its lease expires.
    @Test func holderCountsAsAliveWithoutPubsub() async throws {
        try await RedisServer.running(options: ["user hub on >pw +@all -pubsub ~* &*"]) { server in
            try await server.command(["SET", "hub:apply", "other/1", "PX", "60000"])
            try await Self.running("redis://hub:pw@127.0.0.1:\(server.port)") { applier in
                try await Self.publish(server)
                try await eventually("the update to be heard") { applier.hasUnapplied }
                try await eventually("the update to be another's") { !applier.hasRecent() }
                #expect(try await server.command(["GET", "hub:apply"]) == "other/1")
                try await server.command(["PEXPIRE", "hub:apply", "300"])
                try await Self.publish(server)
                try await eventually("the lease", within: .seconds(5)) { applier.isApplying }
            }
        }
    }
}
