import FlowTestKit
import Foundation
import Testing

@testable import FlowObjects

@Suite(.serialized) struct TransportTests {
    private static func transport(_ change: (inout TransportLimits) -> Void = { _ in }) throws -> Transport {
        var limits = TransportLimits()
        change(&limits)
        return try Transport(limits)
    }

    // MARK: Requests and responses

    @Test func sendsRequestsUnchangedOnOneConnection() async throws {
        let heads = AsyncValue<[String]>([])
        let bodies = AsyncValue<[[UInt8]]>([])
        let server = try RawServer { peer in
            while let (head, body) = peer.request() {
                heads.change { $0.append(head) }
                bodies.change { $0.append(body) }
                peer.reply("200 OK", "fine", "X-One: 1\r\nETag: \"e\"\r\n")
            }
        }
        let transport = try Self.transport()
        let path = "/b/a/./b/../c//d%2Fe?uploads=&x=%2B"
        // A body for which libcurl would send `Expect: 100-continue` by default.
        let large = [UInt8](repeating: 7, count: 3_000_000)
        let requests = [
            TransportRequest(method: .put, url: server.url + path, headers: [NamedValue("X-A", "b")], body: large),
            TransportRequest(method: .put, url: server.url + path), TransportRequest(method: .post, url: server.url + path),
            TransportRequest(method: .get, url: server.url + path), TransportRequest(method: .delete, url: server.url + path),
        ]
        for request in requests {
            let (head, body) = try await transport.send(request, limit: 100)
            #expect(head.status == 200)
            #expect(head["x-one"] == "1")
            #expect(head["etag"] == "\"e\"")
            #expect(body == Array("fine".utf8))
        }
        let seen = heads.value
        #expect(seen.map { $0.split(separator: " ")[0] } == ["PUT", "PUT", "POST", "GET", "DELETE"])
        #expect(bodies.value[0] == large)
        for head in seen {
            let lines = head.lowercased().components(separatedBy: "\r\n")
            #expect(lines[0].hasSuffix(" \(path.lowercased()) http/1.1"))
            #expect(
                !lines.contains {
                    $0.hasPrefix("expect:") || $0.hasPrefix("accept-encoding:") || $0.hasPrefix("transfer-encoding:")
                })
            #expect(!lines.contains { $0.hasPrefix("content-type:") })
        }
        #expect(seen[0].contains("\r\nX-A: b"))
        #expect(seen[0].contains("\r\nContent-Length: 3000000"))
        #expect(seen[1].contains("\r\nContent-Length: 0"))
        #expect(seen[2].contains("\r\nContent-Length: 0"))
        // All requests used one connection.
        #expect(server.connections.value == 1)
        await transport.close()
    }

    @Test func readsResponsesWithoutBody() async throws {
        let server = try RawServer { peer in
            while let (head, _) = peer.request() {
                peer.write(
                    head.hasPrefix("HEAD")
                        ? "HTTP/1.1 404 Not Found\r\nContent-Length: 500\r\n\r\n" : "HTTP/1.1 204 No Content\r\n\r\n")
            }
        }
        let transport = try Self.transport()
        let (head, none) = try await transport.send(TransportRequest(method: .head, url: server.url), limit: 0)
        #expect(head.status == 404)
        #expect(head["content-length"] == "500")
        #expect(none.isEmpty)
        let (gone, _) = try await transport.send(TransportRequest(method: .delete, url: server.url), limit: 0)
        #expect(gone.status == 204)
        #expect(server.connections.value == 1)
        await transport.close()
    }

    @Test func replacesClosedKeepAliveConnection() async throws {
        let server = try RawServer { peer in
            guard let (_, body) = peer.request() else { return }
            peer.reply("200 OK", "\(body.count)")
        }
        let transport = try Self.transport()
        for size in [1, 100_000, 5] {
            let request = TransportRequest(method: .put, url: server.url, body: [UInt8](repeating: 1, count: size))
            let (_, body) = try await transport.send(request, limit: 100)
            #expect(body == Array("\(size)".utf8))
        }
        #expect(server.connections.value == 3)
        await transport.close()
    }

    // MARK: Redirects, encodings and trust

    @Test func doesNotFollowRedirects() async throws {
        let elsewhere = try RawServer { peer in
            _ = peer.request()
            peer.reply("200 OK", "secret")
        }
        let server = try RawServer { peer in
            _ = peer.request()
            peer.reply("307 Temporary Redirect", "", "Location: \(elsewhere.url)/\r\n")
        }
        let transport = try Self.transport()
        let (head, _) = try await transport.send(TransportRequest(method: .get, url: server.url), limit: 100)
        #expect(head.status == 307)
        #expect(elsewhere.connections.value == 0)
        await transport.close()
    }

    @Test func doesNotDecompressBodies() async throws {
        let server = try RawServer { peer in
            _ = peer.request()
            peer.reply("200 OK", "not really", "Content-Encoding: gzip\r\n")
        }
        let transport = try Self.transport()
        let (_, body) = try await transport.send(TransportRequest(method: .get, url: server.url), limit: 100)
        #expect(body == Array("not really".utf8))
        await transport.close()
    }

    @Test(arguments: ["ftp", "file", "gopher", "dict"]) func rejectsOtherProtocols(_ scheme: String) async throws {
        let transport = try Self.transport()
        await #expect(throws: TransportError.malformed) {
            _ = try await transport.send(TransportRequest(method: .get, url: "\(scheme)://127.0.0.1/etc/passwd"), limit: 100)
        }
        await transport.close()
    }

    @Test func ignoresEnvironmentProxyForLoopback() async throws {
        let proxy = try RawServer { _ in }
        let server = try RawServer { peer in
            _ = peer.request()
            peer.reply("200 OK", "direct")
        }
        setenv("http_proxy", proxy.url, 1)
        defer { unsetenv("http_proxy") }
        let transport = try Self.transport()
        let (_, body) = try await transport.send(TransportRequest(method: .get, url: server.url), limit: 100)
        #expect(body == Array("direct".utf8))
        #expect(proxy.connections.value == 0)
        await transport.close()
    }

    @Test(arguments: [true, false]) func verifiesCertificates(_ isTrusted: Bool) async throws {
        let authority = try CertificateAuthority(name: "objects")
        defer { authority.folder.remove() }
        try authority.certify()
        let other = try CertificateAuthority(name: "other")
        defer { other.folder.remove() }
        let port = try FreePort.choose()
        let server = try ChildProcess(
            "/usr/bin/openssl",
            [
                "s_server", "-accept", "127.0.0.1:\(port)", "-www", "-cert", authority.serverCertificate, "-key",
                authority.serverKey,
            ],
            environment: [:], folder: authority.folder.path)
        try await eventually("openssl to listen") { FreePort.isInUse(port) }
        let transport = try Transport(TransportLimits(), authorities: isTrusted ? authority.root : other.root)
        let request = TransportRequest(method: .get, url: "https://127.0.0.1:\(port)/")
        if isTrusted {
            #expect(try await transport.send(request, limit: 1_000_000).head.status == 200)
            // The certificate is for the address, not for the name.
            await #expect(throws: TransportError.tls) {
                _ = try await transport.send(TransportRequest(method: .get, url: "https://localhost:\(port)/"), limit: 1_000_000)
            }
        } else {
            await #expect(throws: TransportError.tls) { _ = try await transport.send(request, limit: 1_000_000) }
        }
        await transport.close()
        await server.destroy()
    }

    // MARK: Failures

    @Test func reportsConnectFailureIfPortIsClosed() async throws {
        let transport = try Self.transport()
        let request = TransportRequest(method: .get, url: "http://127.0.0.1:\(try FreePort.choose())/")
        await #expect(throws: TransportError.connect) { _ = try await transport.send(request, limit: 100) }
        await transport.close()
    }

    struct Odd: Sendable, CustomTestStringConvertible {
        var text: String
        var error: TransportError
        var testDescription: String { "\(self.text.prefix(40)) -> \(self.error)" }
    }

    @Test(arguments: [
        Odd(text: "", error: .lost), Odd(text: "HTTP/1.1 200 OK\r\nContent-Le", error: .lost),
        Odd(text: "SSH-2.0-x\r\n", error: .malformed),
        Odd(text: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", error: .short),
        Odd(text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123", error: .short),
        Odd(
            text: "HTTP/1.1 200 OK\r\n" + String(repeating: "X-Y: " + String(repeating: "z", count: 1_000) + "\r\n", count: 70)
                + "\r\n", error: .malformed),
        Odd(text: "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + String(repeating: "x", count: 200), error: .malformed),
    ])
    func reportsMalformedAndTruncatedResponses(_ odd: Odd) async throws {
        let server = try RawServer { peer in
            _ = peer.request()
            peer.write(odd.text)
        }
        let transport = try Self.transport()
        await #expect(throws: odd.error) {
            _ = try await transport.send(TransportRequest(method: .get, url: server.url), limit: 100)
        }
        await transport.close()
    }

    @Test func resetDuringBodyFailsAfterReceivedBytes() async throws {
        let isRead = AsyncValue(false)
        let server = try RawServer { peer in
            _ = peer.request()
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n12345")
            while !isRead.value { usleep(1_000) }
            peer.reset()
        }
        let transport = try Self.transport()
        let (_, body) = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true))
        let first = try await body.next()
        #expect(first == Array("12345".utf8))
        isRead.change { $0 = true }
        await #expect(throws: TransportError.lost) { _ = try await body.next() }
        await transport.close()
    }

    @Test func requestsWithoutResponseTimeOut() async throws {
        let server = try RawServer { peer in while peer.receive() {} }
        let transport = try Self.transport { $0.requestMilliseconds = 100 }
        for isStreamed in [false, true] {
            await #expect(throws: TransportError.timeout) {
                _ = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: isStreamed))
            }
        }
        // The deadline also applies to a request that waits for a connection.
        let narrow = try Self.transport {
            $0.requestMilliseconds = 300
            $0.connections = 1
        }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    await #expect(throws: TransportError.timeout) {
                        _ = try await narrow.open(TransportRequest(method: .get, url: server.url))
                    }
                }
            }
        }
        await transport.close()
        await narrow.close()
    }

    @Test func stalledServerTimesOut() async throws {
        let server = try RawServer { peer in
            _ = peer.request()
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n12345")
            while peer.receive() {}
        }
        let transport = try Self.transport { $0.stallSeconds = 1 }
        let (_, body) = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true))
        #expect(try await body.next() == Array("12345".utf8))
        await #expect(throws: TransportError.timeout) { _ = try await body.next() }
        await transport.close()
    }

    // MARK: Backpressure

    /// A reader that does not read stops the server. Neither the deadline nor the idle timeout applies to it, and it
    /// receives everything afterwards.
    @Test func stalledConsumerAppliesBackpressure() async throws {
        let size = 64 << 20
        let piece = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let server = try RawServer { peer in
            _ = peer.request()
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
            for _ in 0..<size / piece.count { guard peer.write(piece) else { return } }
        }
        let transport = try Self.transport {
            $0.stallSeconds = 1
            $0.requestMilliseconds = 500
        }
        let (_, body) = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true))
        // The server is stopped if it wrote nothing for longer than both timeouts.
        var last = -1
        var spent = clock()
        try await eventually("the server to be stopped", every: .milliseconds(1_500)) {
            if server.written.value == last { return true }
            last = server.written.value
            spent = clock()
            return false
        }
        // No thread polled in a busy loop meanwhile.
        #expect(Double(clock() - spent) / Double(CLOCKS_PER_SEC) < 0.5)
        // The bytes in the kernel's buffers (up to 6 MiB by default) and in the transport's.
        #expect(last < 16 << 20)
        var total = 0
        var largest = 0
        let (hash, expected) = (OpenSSLSHA256(), OpenSSLSHA256())
        while let bytes = try await body.next() {
            bytes.withUnsafeBytes { hash.update($0) }
            total += bytes.count
            largest = max(largest, bytes.count)
        }
        #expect(total == size)
        for _ in 0..<size / piece.count { piece.withUnsafeBytes { expected.update($0) } }
        #expect(hash.finish() == expected.finish())
        #expect(largest <= TransportLimits().bufferBytes + TransportLimits.receiveBytes)
        await transport.close()
    }

    @Test func stalledConsumersDoNotBlockOtherRequests() async throws {
        let server = try RawServer { peer in
            while let (head, _) = peer.request() {
                if head.hasPrefix("GET") {
                    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                    while peer.write([UInt8](repeating: 1, count: 65_536)) {}
                    return
                }
                peer.reply("200 OK", "done")
            }
        }
        let transport = try Self.transport {
            $0.connections = 2
            $0.streams = 3
        }
        var stalled: [TransportBody] = []
        for _ in 0..<3 {
            stalled.append(try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true)).body)
        }
        for _ in 0..<5 {
            let (_, body) = try await transport.send(TransportRequest(method: .put, url: server.url, body: [1]), limit: 10)
            #expect(body == Array("done".utf8))
        }
        // The next stream starts when another one ends.
        async let fourth = transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true))
        stalled.removeLast()
        #expect(try await fourth.head.status == 200)
        await transport.close()
    }

    /// A waiting request starts as soon as the request before it ends, not with the next event.
    @Test func waitingRequestGetsFreedConnectionImmediately() async throws {
        let server = try RawServer { peer in while peer.request() != nil { peer.reply("200 OK", "done") } }
        let transport = try Self.transport { $0.connections = 1 }
        let elapsed = try await ContinuousClock().measure {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<50 {
                    group.addTask {
                        _ = try await transport.send(TransportRequest(method: .put, url: server.url, body: [1]), limit: 10)
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(elapsed < .seconds(5))
        #expect(server.connections.value == 1)
        await transport.close()
    }

    // MARK: Cancellation and close

    @Test func droppedBodyStopsTransfer() async throws {
        let server = try RawServer { peer in
            _ = peer.request()
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while peer.write([UInt8](repeating: 1, count: 65_536)) {}
        }
        let transport = try Self.transport()
        do {
            let (_, body) = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true))
            _ = try await body.next()
        }
        try await server.closed.wait(for: "the connection's end") { $0 == 1 ? () : nil }
        await transport.close()
    }

    @Test(arguments: [true, false]) func cancellationStopsTransfer(_ hasHead: Bool) async throws {
        let asked = AsyncValue(false)
        let server = try RawServer { peer in
            _ = peer.request()
            if hasHead { peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") }
            asked.change { $0 = true }
            while peer.receive() {}
        }
        let transport = try Self.transport()
        let task = Task { () -> TransportError? in
            do throws(TransportError) {
                _ = try await transport.send(TransportRequest(method: .get, url: server.url), limit: 100)
                return nil
            } catch {
                return error
            }
        }
        try await asked.wait(for: "the request") { $0 ? () : nil }
        task.cancel()
        #expect(await task.value == .cancelled)
        try await server.closed.wait(for: "the connection's end") { $0 == 1 ? () : nil }
        await transport.close()
    }

    @Test func closeFailsTransfersInFlight() async throws {
        let server = try RawServer { peer in
            _ = peer.request()
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            while peer.receive() {}
        }
        let transport = try Self.transport { $0.connections = 1 }
        let (_, body) = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true))
        async let waiting = body.next()
        await transport.close()
        do {
            _ = try await waiting
            Issue.record("it went on")
        } catch {
            #expect(error as? TransportError == .closed)
        }
        await #expect(throws: TransportError.closed) {
            _ = try await transport.send(TransportRequest(method: .get, url: server.url), limit: 100)
        }
        // A second close has no effect.
        await transport.close()
    }

    /// Transports are released and closed with transfers in every state.
    @Test func abortsCleanlyAtAnyPoint() async throws {
        let server = try RawServer { peer in
            while peer.request() != nil { peer.reply("200 OK", "ok") }
        }
        for round in 0..<TestScale.pick(30, full: 300) {
            let transport = try Self.transport { $0.connections = 2 }
            let tasks = (0..<8).map { number in
                Task {
                    let isStreamed = number % 2 == 0
                    _ = try? await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: isStreamed))
                }
            }
            for task in tasks.prefix(round % 8) { await task.value }
            for task in tasks.suffix(round % 3) { task.cancel() }
            if round % 2 == 0 { await transport.close() }
            for task in tasks { await task.value }
        }
    }
}
