import FlowCore
import FlowTestKit

/// Several instances on one Postgres and one Redis.
enum RedisHubs {
    /// Starts an instance for each Redis URL, all on one new database, waits until all deliver, and runs the body.
    static func running<Result: Sendable>(
        _ urls: [String], on server: PostgresServer, _ environment: [String: String] = [:],
        _ body: @Sendable ([HubProcess]) async throws -> Result
    ) async throws -> Result {
        let database = server.url(try await server.createDatabase())
        var all = ["DATABASE_URL": database, "FLOWHUB_HISTORY_EVENTS": "10000000", "FLOWHUB_RETRY_MS": "50"]
        all.merge(environment) { $1 }
        return try await Self.nested(urls, all, []) { hubs in
            for hub in hubs { try await hub.waitUntilDelivering() }
            return try await body(hubs)
        }
    }

    private static func nested<Result: Sendable>(
        _ urls: [String], _ environment: [String: String], _ hubs: [HubProcess], _ body: ([HubProcess]) async throws -> Result
    ) async throws -> Result {
        guard hubs.count < urls.count else { return try await body(hubs) }
        let own = environment.merging(["REDIS_URL": urls[hubs.count], "FLOWHUB_INSTANCE": "hub-\(hubs.count)"]) { $1 }
        return try await HubProcess.running(own) { hub in try await Self.nested(urls, environment, hubs + [hub], body) }
    }

    /// Publishes a durable event on one instance and waits for it on a stream of another.
    /// - Returns: the time from the publisher's response to the arrival.
    @discardableResult
    static func probe(
        _ flow: String, from hub: HubProcess, to client: EventStreamClient, within limit: Duration
    ) async throws -> Duration {
        let written = try await hub.api.publish("probe", .null, to: flow)
        let start = ContinuousClock.now
        let block = try await client.next("version \(written.version) of \(flow)", within: limit) {
            $0.event == "probe" && $0.version == written.version
        }
        return block.at - start
    }
}

extension HubProcess {
    /// Whether the instance is ready and delivers by Redis.
    func isStrictlyReady() async throws -> Bool { try await self.call("GET", "/health/ready?strict=1").status == 200 }

    func waitUntilDelivering(within limit: Duration = .seconds(20)) async throws {
        try await eventually("the hub to deliver by Redis", within: limit) { try await self.isStrictlyReady() }
    }

    /// - Returns: the time at which the instance reported it.
    @discardableResult
    func waitUntilDegraded(within limit: Duration) async throws -> ContinuousClock.Instant {
        try await eventually("the hub to report that Redis does not deliver", within: limit) {
            try await !self.isStrictlyReady()
        }
        return .now
    }

    /// The ids of a flow's connections, as listed by this instance.
    func connections(of flow: String, headers: [(name: String, value: String)] = []) async throws -> [String] {
        let reply = try await self.call("GET", "/v1/flows/\(flow)/connections", headers: headers)
        guard reply.status == 200 else { throw HubAPI.UnexpectedReply(reply: reply, what: "the connections of \(flow)") }
        return (reply.json.member("connections")?.elements ?? []).compactMap { $0.member("connection_id")?.stringValue }
    }
}

/// Polls the readiness of instances and records failures.
struct HealthMonitor: Sendable {
    private let failures = AsyncValue<[String]>([])

    /// Polls while the body runs.
    /// - Parameters:
    ///   - plain: instances that must serve streams and writes all the time.
    ///   - strict: instances that must also deliver by Redis all the time.
    /// - Throws: the first failure.
    static func monitoring<Result: Sendable>(
        plain: [HubProcess], strict: [HubProcess] = [], _ body: () async throws -> Result
    ) async throws -> Result {
        let monitor = HealthMonitor()
        let result = try await withThrowingTaskGroup(of: Void.self) { group in
            for (hubs, path) in [(plain, "/health/ready"), (strict, "/health/ready?strict=1")] {
                for (number, hub) in hubs.enumerated() { group.addTask { await monitor.poll(hub, number, path) } }
            }
            defer { group.cancelAll() }
            return try await body()
        }
        if let failure = monitor.failures.value.first { throw ChildProcess.Failure(description: failure) }
        return result
    }

    private func poll(_ hub: HubProcess, _ number: Int, _ path: String) async {
        while !Task.isCancelled {
            let reply = try? await hub.call("GET", path)
            if let reply, reply.status != 200 {
                self.failures.change { $0.append("hub \(number) answered \(reply.status) to \(path): \(reply.text)") }
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }
}
