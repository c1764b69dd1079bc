import FlowCore
import NIOCore

/// Durations of the ordinary requests of one event loop, by route and status.
struct RequestCounters: Sendable {
    struct Key: Hashable, Sendable {
        /// The route's pattern, such as `/v1/flows/:flow/state`, never a path: the number of label values must be bounded.
        var route: String
        var status: Int
    }

    private(set) var histograms: [Key: Histogram] = [:]

    /// Counts a request that was answered.
    mutating func observe(route: String, status: Int, duration: TimeAmount) {
        self.histograms[Key(route: route, status: status), default: Histogram(Histogram.latencyBounds)]
            .observe(Double(duration.nanoseconds) / 1e9)
    }

    /// Adds the counts of another event loop.
    mutating func add(_ other: RequestCounters) {
        for (key, histogram) in other.histograms {
            self.histograms[key, default: Histogram(Histogram.latencyBounds)].add(histogram)
        }
    }
}
