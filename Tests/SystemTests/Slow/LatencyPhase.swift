import FlowCore
import FlowTestKit

/// Latencies from the publisher to healthy subscribers in one phase of a test.
struct LatencyPhase: Sendable {
    /// Latencies in seconds, ascending.
    let latencies: [Double]

    /// Publishes events one after the other, each after every subscriber has received the previous one.
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
