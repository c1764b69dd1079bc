import FlowTestKit
import Foundation
import Testing

@testable import FlowObjects

/// Transfers that their reader gives up, and the close of a transport.
@Suite(.serialized) struct TransportCancellationTests {
    @Test func droppedBodyStopsTransfer() async throws {
        let server = try RawServer { peer in
            _ = peer.request()
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while peer.write([UInt8](repeating: 1, count: 65_536)) {}
        }
        let transport = try Transport.limited()
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
        let transport = try Transport.limited()
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
        let transport = try Transport.limited { $0.connections = 1 }
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
            let transport = try Transport.limited { $0.connections = 2 }
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
