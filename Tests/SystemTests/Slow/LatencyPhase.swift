import FlowCore
import FlowTestKit

/// How long events take from their publisher to healthy subscribers, in one stretch of time.
struct LatencyPhase: Sendable {
    /// Seconds, ascending.
    let latencies: [Double]

    /// Publishes one event after the other, each when every subscriber has the one before.
    static func measure(_ events: Int, flow: String, _ clients: [EventStreamClient], _ api: HubAPI) async throws -> LatencyPhase {
        var latencies: [Double] = []
        for _ in 0..<events {
            let began = ContinuousClock.now
            let version = try await api.publish("ping", .null, to: flow).version
            for client in clients {
                let block = try await client.next("version \(version)") { $0.event == "ping" && $0.version == version }
                latencies.append(
                    Double((block.at - began).components.attoseconds) / 1e18 + Double((block.at - began).components.seconds))
            }
        }
        return LatencyPhase(latencies: latencies.sorted())
    }

    func percentile(_ percent: Int) -> Double {
        self.latencies[min(self.latencies.count - 1, self.latencies.count * percent / 100)]
    }

    static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}
