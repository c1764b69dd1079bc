import FlowCore
import FlowTestKit
import Testing

/// The states and snapshots of watched flows are bounded beside the cache.
struct SnapshotLimitTests {
    @Test func watchedFlowsKeepBoundedSnapshots() async throws {
        let environment = ["FLOWHUB_MAX_SNAPSHOT_BYTES": "2097152", "FLOWHUB_CACHE_BYTES": "1048576"]
        try await HubProcess.running(environment) { hub in
            let count = 16
            let state = try jsonText("{\"a\":\"\(String(repeating: "x", count: 1_000_000))\"}")
            for number in 0..<count { #expect(try await hub.api.put("f\(number)", state).status == 201) }
            let before = try #require(hub.processMetrics).residentBytes
            var highest = 0.0
            var streams: [EventStreamClient] = []
            for number in 0..<count {
                let stream = EventStreamClient(.flow("f\(number)"), port: hub.port)
                streams.append(stream)
                try await stream.connect()
                #expect(try await stream.next(event: "snapshot").version == 1)
                highest = max(highest, try await hub.api.metric("flowhub_snapshot_bytes") ?? 0)
            }
            let grown = try #require(hub.processMetrics).residentBytes - before
            #expect(highest > 1_000_000, "nothing was kept, so the test proves nothing")
            #expect(highest <= 2_097_152 + 2 * 2_000_000)
            #expect(grown < 20_000_000, "\(grown >> 20) MiB for \(count) watched flows of 1 MB")
            // A flow whose snapshot was dropped still gets its events, and its next subscriber a snapshot.
            #expect(try await hub.api.publish("a", .null, to: "f0").status == 201)
            #expect(try await streams[0].next(event: "a").version == 2)
            let second = EventStreamClient(.flow("f0"), port: hub.port)
            try await second.connect()
            #expect(try await second.next(event: "snapshot").version == 2)
        }
    }
}
