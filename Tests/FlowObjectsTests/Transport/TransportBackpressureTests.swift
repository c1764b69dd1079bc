import FlowTestKit
import Foundation
import Testing

@testable import FlowObjects

/// Readers that are slower than the server, and requests that wait for a connection.
@Suite(.serialized) struct TransportBackpressureTests {
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
        let transport = try Transport.limited {
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
        let transport = try Transport.limited {
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
        let transport = try Transport.limited { $0.connections = 1 }
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
}
