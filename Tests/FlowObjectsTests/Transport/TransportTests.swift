import FlowTestKit
import Foundation
import Testing

@testable import FlowObjects

@Suite(.serialized) struct TransportTests {
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
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
        let (_, body) = try await transport.send(TransportRequest(method: .get, url: server.url), limit: 100)
        #expect(body == Array("not really".utf8))
        await transport.close()
    }

    @Test(arguments: ["ftp", "file", "gopher", "dict"]) func rejectsOtherProtocols(_ scheme: String) async throws {
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
        let (_, body) = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true))
        let first = try await body.next()
        #expect(first == Array("12345".utf8))
        isRead.change { $0 = true }
        await #expect(throws: TransportError.lost) { _ = try await body.next() }
        await transport.close()
    }

    @Test func requestsWithoutResponseTimeOut() async throws {
        let server = try RawServer { peer in while peer.receive() {} }
        let transport = try Transport.limited { $0.requestMilliseconds = 100 }
        for isStreamed in [false, true] {
            await #expect(throws: TransportError.timeout) {
                _ = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: isStreamed))
            }
        }
        // The deadline also applies to a request that waits for a connection.
        let narrow = try Transport.limited {
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
        let transport = try Transport.limited { $0.stallSeconds = 1 }
        let (_, body) = try await transport.open(TransportRequest(method: .get, url: server.url, isStreamed: true))
        #expect(try await body.next() == Array("12345".utf8))
        await #expect(throws: TransportError.timeout) { _ = try await body.next() }
        await transport.close()
    }
}

extension Transport {
    /// A transport with the default limits, or changed ones.
    static func limited(_ change: (inout TransportLimits) -> Void = { _ in }) throws -> Transport {
        var limits = TransportLimits()
        change(&limits)
        return try Transport(limits)
    }
}
