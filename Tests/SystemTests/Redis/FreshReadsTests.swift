import FlowCore
import FlowTestKit
import Testing

/// Reads of a state at one instance that another instance has changed. The version sweep does not help.
@Suite(.serialized, .postgres()) struct FreshReadsTests {
    enum Mode: CaseIterable {
        case withoutRedis, redis
        /// Redis hangs: it has been stopped by a signal.
        case frozenRedis
    }

    private static func running(
        _ mode: Mode, _ body: @Sendable (_ writer: HubProcess, _ reader: HubProcess, RedisServer?) async throws -> Void
    ) async throws {
        let environment = ["FLOWHUB_SWEEP_SECONDS": "3600"]
        if mode == .withoutRedis {
            try await PostgresHubs.running(2, on: try SharedPostgres.server, environment) { hubs in
                try await body(hubs[0], hubs[1], nil)
            }
        } else {
            try await RedisServer.running { redis in
                try await RedisHubs.running([redis.url, redis.url], on: try SharedPostgres.server, environment) { hubs in
                    try await body(hubs[0], hubs[1], redis)
                }
            }
        }
    }

    private static func state(_ round: Int) throws -> JSONText { try jsonText("{\"n\":\(round)}") }

    /// Reads the flow until the reader answers with this version. Versions must not go back.
    /// - Parameter tag: sent as `If-None-Match`; the reader answers with 304 as long as it has the state with this tag.
    /// - Returns: the time from `start` to the beginning of the last read that was answered with an older version.
    private static func delay(
        until version: Version, of flow: String, at reader: HubProcess, unlike tag: String? = nil,
        since start: ContinuousClock.Instant
    ) async throws -> Duration {
        let api = tag.map { reader.api.with(header: "If-None-Match", $0) } ?? reader.api
        var delay = Duration.zero
        var highest: Version = 0
        while delay < .seconds(20) {
            let began = ContinuousClock.now - start
            let reply = try await api.call("GET", "/v1/flows/\(flow)/state")
            let read = reply.status == 304 ? 0 : try #require(reply.json.member("version")?.intValue, "\(reply.text)")
            try #require(read >= highest, "the version went back")
            highest = read
            if read >= version { break }
            delay = began
        }
        return delay
    }

    @Test(arguments: Mode.allCases) func stateIsAtMostOneSecondBehindOtherInstance(_ mode: Mode) async throws {
        try await Self.running(mode) { writer, reader, redis in
            let flows = ["watched", "cached", "conditional", "unseen"]
            for flow in flows { _ = try await writer.api.put(flow, try Self.state(1)) }
            let client = EventStreamClient(.flow("watched"), port: reader.port)
            try await client.connect()
            _ = try await client.next(event: "snapshot")
            var tags: [String: String] = [:]
            for flow in flows.dropLast() {
                let read = try #require(try await reader.api.state(of: flow))
                #expect(read.version == 1, "the reader has this version in memory")
                tags[flow] = read.tag
            }
            if mode == .frozenRedis { redis?.pause() }
            defer { redis?.resume() }
            let delays = try await withThrowingTaskGroup { group in
                for flow in flows {
                    let tag = flow == "conditional" ? tags[flow] : nil
                    group.addTask {
                        let written = try await writer.api.put(flow, try Self.state(2))
                        let start = ContinuousClock.now
                        try #require(written.version == 2)
                        let delay = try await Self.delay(until: 2, of: flow, at: reader, unlike: tag, since: start)
                        return (flow, delay)
                    }
                }
                return try await group.reduce(into: [String: Duration]()) { $0[$1.0] = $1.1 }
            }
            for (flow, delay) in delays { #expect(delay < .seconds(1), "\(flow)") }
            client.disconnect()
        }
    }

    @Test(arguments: Mode.allCases) func clientThatWantsItReadsEveryCommittedChange(_ mode: Mode) async throws {
        try await Self.running(mode) { writer, reader, redis in
            _ = try await writer.api.put("job", try Self.state(1))
            if mode == .frozenRedis { redis?.pause() }
            defer { redis?.resume() }
            let demanding = reader.api.with(header: "Cache-Control", "no-cache")
            for round in 2...7 {
                let known = try #require(try await reader.api.state(of: "job"))
                #expect(known.version == Version(round - 1), "the reader has this version in memory")
                _ = try await writer.api.put("job", try Self.state(round))
                switch round % 3 {
                case 0: #expect(try await demanding.state(of: "job")?.version == Version(round))
                case 1:
                    let reply = try await demanding.with(header: "If-None-Match", known.tag).call("GET", "/v1/flows/job/state")
                    #expect(reply.status == 200 && reply.json.member("version")?.intValue == Version(round))
                default:
                    let reply = try await reader.api.call("GET", "/v1/flows/job/state?fresh=1")
                    #expect(reply.json.member("version")?.intValue == Version(round))
                }
            }
            let current = try #require(try await demanding.state(of: "job"))
            let unchanged = try await demanding.with(header: "If-None-Match", current.tag).call("GET", "/v1/flows/job/state")
            #expect(unchanged.status == 304)
            #expect(try await reader.api.metric("flowhub_state_checks_total{result=\"outdated\"}") ?? 0 >= 6)
        }
    }

    /// A client that has received an event reads the state.
    @Test func stateIsNotOlderThanStreamOfSameInstance() async throws {
        try await Self.running(.redis) { writer, reader, _ in
            _ = try await writer.api.put("job", try Self.state(1))
            let client = EventStreamClient(.flow("job"), port: reader.port)
            try await client.connect()
            _ = try await client.next(event: "snapshot")
            for round in 2...6 {
                #expect(try await reader.api.state(of: "job")?.version == Version(round - 1))
                _ = try await writer.api.put("job", try Self.state(round))
                _ = try await client.next("version \(round)", within: .seconds(10)) { $0.version == Version(round) }
                let read = try await reader.api.state(of: "job")
                #expect(read?.version == Version(round) && read?.state.string == "{\"n\":\(round)}")
            }
            client.disconnect()
        }
    }
}
