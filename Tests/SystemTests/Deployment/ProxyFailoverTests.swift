import FlowCore
import FlowTestKit
import Testing

/// One of two hubs behind each proxy fails: clients continue on the other one, and publications are not lost.
@Suite(.serialized, .postgres()) struct ProxyFailoverTests {
    enum Failure: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case killed, frozen, draining

        var testDescription: String { self.rawValue }

        /// The time within which every client must have resumed. nginx and Caddy notice a frozen hub by its missing heartbeats only.
        func limit(_ kind: ReverseProxy.Kind) -> Duration {
            self == .frozen && kind != .haproxy ? .seconds(9) : .seconds(3)
        }
    }

    private static let streams = 30
    private static let drainSeconds = 2

    @Test(arguments: Failure.allCases) func clientsContinueOnAnotherHub(_ failure: Failure) async throws {
        let server = try SharedPostgres.server
        try await withThrowingTaskGroup { group in
            for kind in ReverseProxy.Kind.allCases {
                group.addTask { try await Self.run(kind, failure, server) }
            }
            try await group.waitForAll()
        }
    }

    private static func run(_ kind: ReverseProxy.Kind, _ failure: Failure, _ server: PostgresServer) async throws {
        let environment = ["FLOWHUB_HEARTBEAT_SECONDS": "1", "FLOWHUB_DRAIN_SECONDS": "\(Self.drainSeconds)"]
        // A heartbeat every second instead of every 15 s.
        let timeouts: [(String, String)] =
            switch kind {
            case .nginx: [("proxy_read_timeout 45s", "proxy_read_timeout 3s")]
            case .caddy: [("read_timeout 45s", "read_timeout 3s")]
            case .haproxy: []
            }
        try await PostgresHubs.running(2, on: server, environment) { hubs in
            try await ReverseProxy.running(kind, before: hubs.map(\.port), replacing: timeouts) { proxy in
                let name = "\(kind), \(failure.rawValue)"
                let publisher = SteadyPublisher(port: proxy.port)
                let publishing = Task { try await publisher.run() }
                defer { publishing.cancel() }
                try await eventually("the first event of \(name)") { publisher.acknowledged > 0 }
                let clients = (0..<Self.streams).map { EventStreamClient(.flow("f"), port: proxy.port, name: "\(name) \($0)") }
                let reading = Task { await Self.reconnect(clients) }
                defer { reading.cancel() }
                for client in clients { _ = try await client.next(event: "caught_up") }
                let onFirst = try await hubs[0].api.metric("flowhub_connections") ?? 0
                #expect(onFirst > 0 && Int(onFirst) < Self.streams, "\(name): \(onFirst) streams on the first hub")

                switch failure {
                case .killed: try await hubs[0].kill()
                case .frozen: hubs[0].pause()
                case .draining: hubs[0].requestTermination()
                }
                try await Task.sleep(for: failure.limit(kind))
                let version = publisher.acknowledged
                for client in clients {
                    try await client.waitUntil("version \(version)", within: .seconds(1)) { log in
                        (log.events("tick").last?.version ?? 0) >= version ? () : nil
                    }
                }
                let lost = try await publisher.stop()
                if failure == .frozen { hubs[0].resume() }
                if failure == .draining {
                    #expect(try await hubs[0].waitForExit() == .code(0))
                    #expect(lost == 0, "\(name): \(lost) publications failed")
                } else if failure == .killed {
                    // The one that was being answered.
                    #expect(lost <= 1, "\(name): \(lost) publications failed")
                }
                let last = publisher.acknowledged
                #expect(try await hubs[1].api.history(of: "f")?.version == last, "\(name)")
                var farewells = 0
                for client in clients {
                    try await client.waitUntil("version \(last)") { log in
                        (log.events("tick").last?.version ?? 0) >= last ? () : nil
                    }
                    let versions = client.log.events("tick").compactMap(\.version)
                    #expect(versions == versions.first.map { Array($0...last) }, "\(client.name): a gap or a double")
                    #expect(client.log.connections.allSatisfy { $0.status ?? 200 == 200 }, "\(client.name)")
                    farewells += client.log.events("closing").count
                }
                // Each stream is closed once: nobody was sent to the draining hub.
                if failure == .draining { #expect(farewells == Int(onFirst), "\(name): \(farewells) of \(onFirst)") }
            }
        }
    }

    /// Connects the clients, and again 100 ms after each end, until the task is cancelled.
    private static func reconnect(_ clients: [EventStreamClient]) async {
        await withDiscardingTaskGroup { group in
            for client in clients {
                group.addTask {
                    while !Task.isCancelled {
                        do {
                            try await client.connect()
                            try await client.waitUntilEnded(within: .seconds(60))
                        } catch {
                            // A connection attempt that failed is repeated.
                        }
                        do { try await Task.sleep(for: .milliseconds(100)) } catch { break }
                    }
                    client.disconnect()
                }
            }
        }
    }
}

/// Publishes one event after the other through a proxy. Repeats one that fails with its idempotency key.
private final class SteadyPublisher: Sendable {
    private struct State: Sendable {
        var acknowledged: Version = 0
        var failures = 0
        var isStopped = false
        var isDone = false
    }

    private let port: Int
    private let state = AsyncValue(State())

    init(port: Int) { self.port = port }

    /// The number of acknowledged events.
    var acknowledged: Version { self.state.read { $0.acknowledged } }

    func run() async throws {
        defer { self.state.change { $0.isDone = true } }
        var caller = HTTPCaller(port: self.port)
        var number = 0
        while !Task.isCancelled, !self.state.read({ $0.isStopped }) {
            number += 1
            while !Task.isCancelled {
                let call = HTTPCall(
                    "POST", "/v1/flows/f/events", headers: [("Idempotency-Key", "k\(number)")],
                    json: .object {
                        $0.key("type"); $0.value("tick")
                    })
                if let reply = try? await caller.perform(call, within: .seconds(1)), (200..<300).contains(reply.status) { break }
                self.state.change { $0.failures += 1 }
                caller = HTTPCaller(port: self.port)
            }
            self.state.change { $0.acknowledged += 1 }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Ends publishing after the current event is acknowledged.
    /// - Returns: the number of attempts that failed.
    func stop() async throws -> Int {
        self.state.change { $0.isStopped = true }
        try await self.state.wait(for: "the last publication") { $0.isDone ? () : nil }
        return self.state.read { $0.failures }
    }
}
