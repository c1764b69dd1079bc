import FlowCore
import FlowTestKit
import NIOPosix
import Synchronization
import Testing

@testable import FlowRedis

/// One connection to Redis under failures.
@Suite(.serialized) struct LinkTests {
    private static func withLink(
        _ settings: RedisSettings, _ body: (RedisLink) async throws -> Void
    ) async throws {
        let link = try RedisLink(
            settings, name: "test", isSubscriber: false, loop: MultiThreadedEventLoopGroup.singleton.next(), logger: logger)
        link.start(.init())
        do {
            try await body(link)
            await link.stop()
        } catch {
            await link.stop()
            throw error
        }
    }

    private static func isReached(_ link: RedisLink) async -> Bool {
        (try? await link.run([RESPCommand("PING")])) == [.status("PONG")]
    }

    @Test func pipelinedRepliesKeepOrder() async throws {
        try await RedisServer.running { server in
            try await Self.withLink(try settings(server.url)) { link in
                try await eventually("a connection") { await Self.isReached(link) }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<200 {
                        group.addTask {
                            let replies = try await link.run([
                                RESPCommand("ECHO", "\(number)"), RESPCommand("NOSUCH"), RESPCommand("STRLEN", "none"),
                            ])
                            #expect(replies.count == 3)
                            #expect(replies[0].text == "\(number)")
                            #expect(replies[1].errorReply?.hasPrefix("ERR unknown command") == true)
                            #expect(replies[2] == .integer(0))
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test func unresponsiveServerTimesOutAndLinkReconnects() async throws {
        try await RedisServer.running { server in
            var settings = try settings(server.url)
            settings.commandMilliseconds = 300
            try await Self.withLink(settings) { link in
                try await eventually("a connection") { await Self.isReached(link) }
                server.pause()
                let start = ContinuousClock.now
                let error = await #expect(throws: RedisError.self) { try await link.run([RESPCommand("PING")]) }
                #expect(error == .timedOut)
                #expect(ContinuousClock.now - start < .seconds(2))
                server.resume()
                try await eventually("the connection to be back") { await Self.isReached(link) }
            }
        }
    }

    @Test func softTimeoutFailsCallerAndKeepsConnection() async throws {
        try await RedisServer.running { server in
            try await Self.withLink(try settings(server.url)) { link in
                try await eventually("a connection") { await Self.isReached(link) }
                server.pause()
                let error = await #expect(throws: RedisError.self) { try await link.run([RESPCommand("PING")], within: 50) }
                #expect(error == .timedOut)
                server.resume()
                // The same connection still works: after a reconnect this would fail with `notConnected` for a moment.
                #expect(try await link.run([RESPCommand("PING")]) == [.status("PONG")])
            }
        }
    }

    @Test func reconnectsAfterServerRestart() async throws {
        try await RedisServer.running { server in
            try await Self.withLink(try settings(server.url)) { link in
                try await eventually("a connection") { await Self.isReached(link) }
                try await server.kill()
                try await eventually("the loss to be detected") { await !Self.isReached(link) }
                await #expect(throws: RedisError.notConnected) { try await link.run([RESPCommand("PING")]) }
                try await server.start()
                try await eventually("the connection to be back") { await Self.isReached(link) }
            }
        }
    }

    @Test func rejectsCommandsOverPendingLimit() async throws {
        try await RedisServer.running { server in
            var settings = try settings(server.url)
            settings.maximumPending = 10
            try await Self.withLink(settings) { link in
                try await eventually("a connection") { await Self.isReached(link) }
                await #expect(throws: RedisError.tooManyPending) {
                    try await link.run([RESPCommand](repeating: RESPCommand("PING"), count: 11))
                }
                #expect(try await link.run([RESPCommand](repeating: RESPCommand("PING"), count: 10)).count == 10)
            }
        }
    }

    @Test("connects only with the correct password and, over TLS, a trusted root")
    func connectsOnlyWithCorrectPasswordAndTrustedRoot() async throws {
        for isEncrypted in [false, true] {
            try await RedisServer.running(password: "pass word/@", isEncrypted: isEncrypted) { server in
                try await Self.withLink(try settings(server.url, root: server.root)) { link in
                    try await eventually("a connection") { await Self.isReached(link) }
                }
                var wrong = try settings(server.url, root: server.root)
                wrong.password = "other"
                try await Self.withLink(wrong) { link in
                    // The server has counted the failed authentication, so it was reached and rejected the handshake.
                    try await eventually("the rejected handshake") {
                        let stats = try await server.command(["INFO", "stats"])
                        return !stats.contains("acl_access_denied_auth:0")
                    }
                    await #expect(throws: RedisError.notConnected) { try await link.run([RESPCommand("PING")]) }
                }
                if isEncrypted {
                    var strange = try settings(server.url)
                    strange.connectMilliseconds = 500
                    try await Self.withLink(strange) { link in
                        try await eventually("a connection attempt") {
                            try await server.command(["INFO", "stats"]).contains("total_connections")
                        }
                        await #expect(throws: RedisError.notConnected) { try await link.run([RESPCommand("PING")]) }
                    }
                }
            }
        }
    }
}
