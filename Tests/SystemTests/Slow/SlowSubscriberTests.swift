import FlowCore
import FlowTestKit
import Testing

/// Slow subscribers use bounded memory and do not delay others.
@Suite(.serialized) struct SlowSubscriberTests {
    /// Number of slow subscribers of each kind: without any read, and with a read of one byte per second.
    private static let slow = TestScale.pick(100, full: 1_000)
    private static let healthy = 20
    private static let flow = "busy"
    private static let queuedLimit = 4_194_304
    private static let settings = [
        "FLOWHUB_MAX_QUEUED_BYTES": String(Self.queuedLimit), "FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER": "16384",
        "FLOWHUB_HEARTBEAT_SECONDS": "5",
    ]

    // MARK: Memory

    @Test func slowSubscribersUseBoundedMemoryAndLoseNothing() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let api = hub.api
            _ = try await api.publish("first", .null, to: Self.flow)
            let healthy = try await Self.connect(Self.healthy, to: hub, "healthy", .init())
            let idle = try await Self.crowd(hub)
            // All are connected and none is behind: from here on, memory growth is caused by slow subscribers.
            try await eventually("the slow ones are connected") {
                try await api.metric("flowhub_connections") == Double(Self.healthy + 2 * Self.slow)
            }
            let before = try #require(hub.processMetrics).residentBytes
            var highestQueue = 0.0
            var peak = before
            // Each batch is 300 KiB, so separate queues would grow by 30 MiB per round for 100 subscribers.
            let filler = JSONText.object {
                $0.key("fill"); $0.value(String(repeating: "x", count: 10_240))
            }
            for _ in 0..<10 {
                let written = try await api.publish(Array(repeating: ("bulk", filler), count: 30), to: Self.flow)
                for client in healthy {
                    try await client.waitUntil("version \(written.version)") {
                        $0.blocks.last { $0.id != nil }?.version == written.version ? () : nil
                    }
                }
                highestQueue = max(highestQueue, try await api.metric("flowhub_queued_bytes") ?? 0)
                peak = max(peak, hub.processMetrics?.residentBytes ?? 0)
            }
            // On each loop one write, of a page or a burst, may exceed the limit before it is measured.
            #expect(highestQueue <= Double(Self.queuedLimit) * 1.5, "\(highestQueue) bytes were queued")
            let allowed = 2 * Self.queuedLimit + 2 * Self.slow * 32_768 + 33_554_432
            #expect(peak - before < allowed, "resident memory grew by \((peak - before) >> 20) MiB, \(allowed >> 20) are allowed")

            for client in healthy { client.disconnect() }
            try await Self.expectEverythingInOrder(idle.filter { $0.name.hasPrefix("deaf") }.prefix(20), api)
            for client in idle { client.disconnect() }
        }
    }

    /// Lets the subscribers read, and expects everything in history, on the same connection or after a reconnect.
    private static func expectEverythingInOrder(_ clients: some Collection<EventStreamClient>, _ api: HubAPI) async throws {
        let history = try #require(try await api.history(of: Self.flow))
        let journal = FlowJournal(flow: Self.flow, envelopes: history.events)
        #expect(journal.version == history.version)
        await concurrently(clients) { client in
            try await client.read()
            let deadline = ContinuousClock.now + .seconds(30)
            while !ModelSubscriber.isAt([Self.flow: journal.version], client.log, client.target), ContinuousClock.now < deadline {
                if client.log.status != nil, !client.isConnected {
                    try await client.connect()
                    try await client.read()
                }
                let seen = client.log.blocks.count
                _ = try? await client.waitUntil("more", within: .milliseconds(200)) {
                    $0.blocks.count > seen || !$0.isConnected ? () : nil
                }
            }
        }
        var epochs = Set<Epoch>()
        for client in clients {
            for block in client.log.blocks.prefix(3) {
                if case .flow(let epoch, _) = Cursor(block.id ?? "") { epochs.insert(epoch) }
            }
            let facts = StreamChecker.Facts(journals: [Self.flow: journal], oldest: [Self.flow: 1], epochs: epochs)
            let violations = StreamChecker.check(client.log, of: client.target, by: client.name, facts)
            #expect(violations.isEmpty, "\(violations.prefix(3).map(\.description))")
            #expect(client.log.events("resync").isEmpty, "\(client.name) was resynced although history is complete")
        }
    }

    // MARK: Latency

    @Test func slowSubscribersDoNotDelayOthers() async throws {
        let phases = TestScale.pick(3, full: 5)
        let events = TestScale.pick(60, full: 200)
        let bound = TestScale.pick(2.0, full: 1.2)
        try await HubProcess.running(Self.settings) { hub in
            let api = hub.api
            _ = try await api.publish("first", .null, to: Self.flow)
            let healthy = try await Self.connect(Self.healthy, to: hub, "healthy", .init())
            _ = try await LatencyPhase.measure(20, flow: Self.flow, healthy, api)
            var alone: [Double] = []
            var crowded: [Double] = []
            let filler = JSONText.object {
                $0.key("fill"); $0.value(String(repeating: "x", count: 10_240))
            }
            for _ in 0..<phases {
                alone.append(try await LatencyPhase.measure(events, flow: Self.flow, healthy, api).percentile(99))
                let crowd = try await Self.crowd(hub)
                // They are not slow until their TCP windows are full.
                let version = try await api.publish(Array(repeating: ("bulk", filler), count: 60), to: Self.flow).version
                for client in healthy { _ = try await client.next("version \(version)") { $0.version == version } }
                crowded.append(try await LatencyPhase.measure(events, flow: Self.flow, healthy, api).percentile(99))
                for client in crowd { client.disconnect() }
                try await eventually("the slow ones are gone") {
                    try await api.metric("flowhub_connections") == Double(Self.healthy)
                }
            }
            let (quiet, busy) = (LatencyPhase.median(alone), LatencyPhase.median(crowded))
            // Differences below 1 ms are noise of the machine.
            #expect(busy <= quiet * bound + 0.001, "p99 \(busy) s with \(2 * Self.slow) slow subscribers, \(quiet) s without")
            for client in healthy { client.disconnect() }
        }
    }

    // MARK: Private

    private static func connect(
        _ count: Int, to hub: HubProcess, _ name: String, _ options: WireConnection.Options
    ) async throws -> [EventStreamClient] {
        let clients = (0..<count).map {
            EventStreamClient(.flow(Self.flow), port: hub.port, name: "\(name) \($0)", options: options)
        }
        try await withThrowingTaskGroup { group in
            for client in clients { group.addTask { try await client.connect() } }
            try await group.waitForAll()
        }
        return clients
    }

    /// Connects the slow subscribers: those without any read, and those with a read of one byte per second.
    private static func crowd(_ hub: HubProcess) async throws -> [EventStreamClient] {
        let deaf = try await Self.connect(Self.slow, to: hub, "deaf", .init(reads: false, isNarrow: true))
        let halting = try await Self.connect(Self.slow, to: hub, "halting", .init(reads: false, isNarrow: true))
        for client in halting { try await client.trickle(bytes: 1) }
        return deaf + halting
    }
}
