import FlowTestKit
import Testing

/// `kill -9` of the hub during writes and streams.
@Suite(.serialized) struct KillTests {
    @Test func acknowledgedEventsSurviveKillAndReachSubscribers() async throws {
        let seed = UInt64.random(in: 1...999_999)
        let violations = try await HubProcess.running([
            "FLOWHUB_HISTORY_EVENTS": "10000000", "FLOWHUB_RETRY_MS": "50",
        ]) { hub in
            let flows = ["orders-0", "orders-1", "orders-2"]
            return try await CrashRun(
                hubs: [hub], flows: flows,
                targets: (0..<9).map { $0 < 6 ? .flow(flows[$0 % 3]) : .flows(flows) },
                crashes: TestScale.pick(3, full: 20)
            ) { _ in
                try await hub.kill()
                try await hub.start()
            }.run(seed: seed)
        }
        #expect(violations.isEmpty, "seed \(seed): \(violations.listing)")
    }
}
