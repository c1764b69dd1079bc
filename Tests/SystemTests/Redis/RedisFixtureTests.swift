import Foundation
import NIOCore
import Testing

@testable import FlowTestKit

/// Tests of the Redis servers and the fault proxy that other tests use.
@Suite(.serialized, .redis()) struct RedisFixtureTests {
    /// A RESP array of bulk strings.
    private static func array(_ elements: String..., type: String = "*") -> String {
        elements.reduce("\(type)\(elements.count)\r\n") { $0 + "$\($1.utf8.count)\r\n\($1)\r\n" }
    }

    private static func confirmation(_ kind: String, _ channel: String, _ count: Int, type: String = "*") -> String {
        "\(type)3\r\n$\(kind.utf8.count)\r\n\(kind)\r\n$\(channel.utf8.count)\r\n\(channel)\r\n:\(count)\r\n"
    }

    /// A raw connection with the bytes that it is expected to have received.
    private final class RESPSession {
        let exchange: RawExchange
        var expected = ""

        init(_ proxy: RedisProxy) async throws { self.exchange = try await RawExchange.open(port: proxy.port) }

        func send(_ command: String, _ reply: String) async throws {
            try await self.exchange.send(command + "\r\n")
            try await self.expect(reply)
        }

        func expect(_ bytes: String) async throws {
            self.expected += bytes
            try await self.exchange.waitUntilReceived(self.expected)
            #expect(self.exchange.receivedText == self.expected)
        }
    }

    /// - Returns: number of subscribers that received the message, as reported by the server.
    @discardableResult
    private static func publish(_ channel: String, _ message: String) async throws -> String {
        try await SharedRedis.server.command(["PUBLISH", channel, message])
    }

    // MARK: Proxy

    @Test func dropModeDropsOnlyMessages() async throws {
        try await SharedRedis.flush()
        try await RedisProxy.running(before: SharedRedis.server) { proxy in
            let subscriber = try await RESPSession(proxy)
            try await subscriber.send("SUBSCRIBE a", Self.confirmation("subscribe", "a", 1))
            try await subscriber.send("PSUBSCRIBE b*", Self.confirmation("psubscribe", "b*", 2))
            try await Self.publish("a", "one")
            try await subscriber.expect(Self.array("message", "a", "one"))
            try await Self.publish("b1", "two")
            try await subscriber.expect(Self.array("pmessage", "b*", "b1", "two"))

            try await proxy.switchTo(.dropMessages)
            // A payload that looks like a message, one that spans many reads, and an empty one.
            for message in [Self.array("message", "a", "x"), String(repeating: "\r\n*3\r\n", count: 15_000), ""] {
                #expect(try await Self.publish("a", message) == "1")
                #expect(try await Self.publish("b1", message) == "1")
            }
            try await proxy.waitUntilDropped(6)
            try await subscriber.send("PING", Self.array("pong", ""))
            try await subscriber.send("SUBSCRIBE message", Self.confirmation("subscribe", "message", 3))
            try await subscriber.send("UNSUBSCRIBE message", Self.confirmation("unsubscribe", "message", 2))

            try await proxy.switchTo(.forward)
            try await Self.publish("b2", "short")
            try await subscriber.expect(Self.array("pmessage", "b*", "b2", "short"))
            try await proxy.switchTo(.dropMessages)
            try await Self.publish("a", "lost")
            try await proxy.waitUntilDropped(7)
            try await proxy.switchTo(.forward)
            try await SharedRedis.server.command(["EVAL", "redis.call('PUBLISH', 'a', string.rep('long', 100000))", "0"])
            try await subscriber.expect(Self.array("message", "a", String(repeating: "long", count: 100_000)))
            #expect(proxy.dropped == 7)
        }
    }

    @Test func splitterClassifiesValuesInChunksOfAnySize() throws {
        let values: [(String, isMessage: Bool)] = [
            (Self.array("message", "a", "one"), false),
            (Self.confirmation("subscribe", "a", 1), false),
            (Self.array("message", "a", Self.array("message", "b", "")), true),
            (Self.array("pong", ""), false),
            ("*-1\r\n", false),
            ("*2\r\n*0\r\n" + Self.array("message", "a", "one"), false),
            (Self.array("pmessage", "*", "a", "\r\n:1\r\n"), true),
            (Self.confirmation("unsubscribe", "a", 0), false),
            (Self.array("message", "a", "one"), false),
            ("-ERR message\r\n", false),
            (Self.array("message", "a", "one", type: ">"), true),
            ("%1\r\n+a\r\n,1.5\r\n", false),
            ("$-1\r\n", false),
        ]
        let all = Array(values.map(\.0).joined().utf8)
        for size in [1, 2, 3, 5, 7, 64, all.count] {
            var splitter = RESPSplitter()
            var found: [RESPSplitter.Value] = []
            for start in stride(from: 0, to: all.count, by: size) {
                splitter.feed(ByteBuffer(bytes: all[start..<min(start + size, all.count)]))
                while let value = try splitter.next() { found.append(value) }
            }
            #expect(found.map { String(buffer: $0.bytes) } == values.map(\.0))
            #expect(found.map(\.isMessage) == values.map(\.isMessage))
        }
        var splitter = RESPSplitter()
        splitter.feed(ByteBuffer(string: "HTTP/1.1 400 Bad Request\r\n"))
        #expect(throws: RESPSplitter.Failure.self) { try splitter.next() }
    }

    @Test func dropModeForwardsRepliesThatResembleMessages() async throws {
        try await SharedRedis.flush()
        try await SharedRedis.server.command(["RPUSH", "list", "message", "a", "one"])
        let list = Self.array("message", "a", "one")
        try await RedisProxy.running(before: SharedRedis.server) { proxy in
            try await proxy.switchTo(.dropMessages)
            let ordinary = try await RESPSession(proxy)
            try await ordinary.send("LRANGE list 0 -1", list)
            try await ordinary.send("MULTI", "+OK\r\n")
            try await ordinary.send("LRANGE list 0 -1", "+QUEUED\r\n")
            try await ordinary.send("GET nothing", "+QUEUED\r\n")
            try await ordinary.send("EXEC", "*2\r\n\(list)$-1\r\n")
            try await ordinary.send("SUBSCRIBE a", Self.confirmation("subscribe", "a", 1))
            try await ordinary.send("UNSUBSCRIBE a", Self.confirmation("unsubscribe", "a", 0))
            try await ordinary.send("LRANGE list 0 -1", list)

            // In RESP3, messages have a separate type, and replies may come between them.
            let modern = try await RESPSession(proxy)
            try await modern.exchange.send("HELLO 3\r\n")
            try await modern.exchange.waitUntilReceived("$7\r\nmodules\r\n*0\r\n")
            modern.expected = modern.exchange.receivedText
            #expect(modern.expected.hasPrefix("%7\r\n"))
            try await modern.send("SUBSCRIBE a", Self.confirmation("subscribe", "a", 1, type: ">"))
            #expect(try await Self.publish("a", "one") == "1")
            try await proxy.waitUntilDropped(1)
            try await modern.send("LRANGE list 0 -1", list)
            try await modern.send("GET nothing", "_\r\n")
            try await proxy.switchTo(.forward)
            try await Self.publish("a", "two")
            try await modern.expect(Self.array("message", "a", "two", type: ">"))
            #expect(proxy.dropped == 1)
        }
    }

    @Test func frozenProxyDelaysAndLosesNoBytes() async throws {
        try await RedisServer.running { server in
            try await RedisProxy.running(before: server) { proxy in
                let before = try await RESPSession(proxy)
                try await before.send("SUBSCRIBE a", Self.confirmation("subscribe", "a", 1))
                try await proxy.switchTo(.freeze)
                #expect(try await server.command(["PUBLISH", "a", "one"]) == "1")
                let during = try await RESPSession(proxy)
                try await during.exchange.send("SET key 1\r\n")
                try await proxy.waitUntilAccepted(2)
                #expect(try await server.command(["EXISTS", "key"]) == "0")
                #expect(before.exchange.receivedText == before.expected)
                #expect(during.exchange.receivedText == "")
                try await proxy.switchTo(.forward)
                try await before.expect(Self.array("message", "a", "one"))
                try await during.expect("+OK\r\n")
                #expect(try await server.command(["GET", "key"]) == "1")

                // A frozen proxy does not even forward the server's close.
                try await proxy.switchTo(.freeze)
                try await server.restartEmpty()
                #expect(proxy.connections == 2)
                #expect(!before.exchange.isClosed && !during.exchange.isClosed)
                try await proxy.switchTo(.forward)
                try await before.exchange.waitUntilClosed()
                try await during.exchange.waitUntilClosed()
            }
        }
    }

    @Test func proxyClosesAndRejectsConnections() async throws {
        try await RedisProxy.running(before: SharedRedis.server) { proxy in
            let first = try await RESPSession(proxy)
            try await first.send("PING", "+PONG\r\n")
            try await proxy.closeConnections()
            try await first.exchange.waitUntilClosed()
            let second = try await RESPSession(proxy)
            try await second.send("PING", "+PONG\r\n")
            try await proxy.switchTo(.refuseConnections)
            try await second.exchange.waitUntilClosed()
            await #expect(throws: (any Error).self) { _ = try await RawExchange.open(port: proxy.port) }
            #expect(proxy.connections == 0)
            try await proxy.switchTo(.forward)
            let third = try await RESPSession(proxy)
            try await third.send("PING", "+PONG\r\n")
            try await proxy.switchTo(.freeze)
            try await proxy.closeConnections()
            try await third.exchange.waitUntilClosed()
            #expect(proxy.accepted == 3)
        }
    }

    @Test func proxyClosesClientWhenServerStops() async throws {
        try await RedisServer.running { server in
            try await RedisProxy.running(before: server) { proxy in
                let first = try await RESPSession(proxy)
                try await first.send("PING", "+PONG\r\n")
                try await server.stop()
                try await first.exchange.waitUntilClosed()
                let second = try await RESPSession(proxy)
                try await second.exchange.waitUntilClosed()
                try await server.start()
                try await RESPSession(proxy).send("PING", "+PONG\r\n")
            }
        }
    }

    // MARK: Server

    @Test func restartedServerIsEmpty() async throws {
        try await RedisServer.running(options: ["save 1 1", "maxmemory-policy volatile-lru"]) { server in
            #expect(try await server.command(["CONFIG", "GET", "maxmemory-policy"]) == "maxmemory-policy\nvolatile-lru")
            try await server.command(["CONFIG", "SET", "save", ""])
            try await server.command(["SET", "key", "a value\nof two lines"])
            #expect(try await server.command(["GET", "key"]) == "a value\nof two lines")
            try await server.kill()
            #expect(!FreePort.isInUse(server.port))
            try await server.start()
            #expect(try await server.command(["DBSIZE"]) == "0")
            try await server.command(["SET", "key", "1"])
            try await server.restartEmpty()
            #expect(try await server.command(["DBSIZE"]) == "0")
            server.pause()
            let exchange = try await RawExchange.open(port: server.port)
            try await exchange.send("PING\r\n")
            server.resume()
            try await exchange.waitUntilReceived("+PONG\r\n")
            server.pause()
            try await server.stop()
            try await exchange.waitUntilClosed()
        }
    }

    @Test func serverStopsIfBodyThrows() async throws {
        struct Thrown: Error {}
        var ended: RedisServer?
        await #expect(throws: Thrown.self) {
            try await RedisServer.running { server in
                ended = server
                server.pause()
                throw Thrown()
            }
        }
        let server = try #require(ended)
        #expect(!FreePort.isInUse(server.port))
        #expect(!FileManager.default.fileExists(atPath: server.folder.path))
    }

    @Test(arguments: [false, true]) func serverRequiresPasswordAndTrustedRoot(isEncrypted: Bool) async throws {
        let otherAuthority = try CertificateAuthority(name: "others")
        defer { otherAuthority.folder.remove() }
        try await RedisServer.running(password: "pass/word", isEncrypted: isEncrypted) { server in
            #expect(server.url == "\(isEncrypted ? "rediss" : "redis")://default:pass%2Fword@127.0.0.1:\(server.port)")
            try await RedisProxy.running(before: server) { proxy in
                #expect(proxy.url == server.url.replacing("\(server.port)", with: "\(proxy.port)"))
                for port in [server.port, proxy.port] {
                    #expect(try await server.command(["PING"], port: port) == "PONG")
                }
                #expect(proxy.accepted == 1)
                let exchange = try await RawExchange.open(port: proxy.port)
                try await exchange.send("PING\r\n")
                if isEncrypted {
                    try await exchange.waitUntilClosed()
                    await #expect(throws: ChildProcess.Failure.self) { try await proxy.switchTo(.dropMessages) }
                } else {
                    try await exchange.waitUntilReceived("-NOAUTH Authentication required.\r\n")
                }
            }
            for authority in isEncrypted ? [server.root, otherAuthority.root] : [nil] {
                let options = authority.map { ["--cacert", $0] } ?? []
                let client = try ChildProcess(
                    "/usr/bin/redis-cli", ["-u", server.url, "--no-auth-warning"] + options + ["PING"], environment: [:],
                    folder: server.folder.path)
                let exit = try await client.waitForExit()
                #expect((exit == .code(0)) == (authority == server.root))
                #expect((client.output == "PONG\n") == (authority == server.root))
            }
        }
    }
}
