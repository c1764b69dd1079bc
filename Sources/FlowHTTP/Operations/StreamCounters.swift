import FlowCore
import NIOCore

/// What happened on one event loop, in plain integers: the loop alone writes them, and reads them when the metrics are
/// asked for.
struct StreamCounters: Sendable {
    var deliveries = 0
    var slowReaders = 0
    private(set) var resyncs: [ResyncReason: Int] = [:]
    private(set) var closings: [ClosingReason: Int] = [:]
    private(set) var lag = Histogram(Histogram.latencyBounds)

    mutating func resynced(_ reason: ResyncReason) { self.resyncs[reason, default: 0] += 1 }
    mutating func closed(_ reason: ClosingReason) { self.closings[reason, default: 0] += 1 }

    /// From an event's commit to its fan-out here. Between machines this is as good as their clocks agree.
    mutating func observe(lagOf frame: Frame, now: Timestamp) {
        self.lag.observe(Double(max(0, now.milliseconds - frame.createdAt.milliseconds)) / 1000)
    }

    mutating func add(_ other: StreamCounters) {
        self.deliveries += other.deliveries
        self.slowReaders += other.slowReaders
        self.resyncs.merge(other.resyncs, uniquingKeysWith: +)
        self.closings.merge(other.closings, uniquingKeysWith: +)
        self.lag.add(other.lag)
    }
}

/// Ordinary requests of one event loop, by route and status.
struct RequestCounters: Sendable {
    struct Key: Hashable, Sendable {
        /// The route's pattern, never a path: the label must be bounded.
        var route: String
        var status: Int
    }

    private(set) var histograms: [Key: Histogram] = [:]

    mutating func observe(route: String, status: Int, duration: TimeAmount) {
        self.histograms[Key(route: route, status: status), default: Histogram(Histogram.latencyBounds)]
            .observe(Double(duration.nanoseconds) / 1e9)
    }

    mutating func add(_ other: RequestCounters) {
        for (key, histogram) in other.histograms {
            self.histograms[key, default: Histogram(Histogram.latencyBounds)].add(histogram)
        }
    }
}

/// Counts in buckets, as Prometheus has them.
struct Histogram: Sendable {
    static let latencyBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    let bounds: [Double]
    private(set) var counts: [Int]
    private(set) var sum = 0.0

    init(_ bounds: [Double]) {
        self.bounds = bounds
        self.counts = Array(repeating: 0, count: bounds.count + 1)
    }

    var total: Int { self.counts.reduce(0, +) }

    mutating func observe(_ value: Double) {
        var index = 0
        while index < self.bounds.count, value > self.bounds[index] { index += 1 }
        self.counts[index] += 1
        self.sum += value
    }

    mutating func add(_ other: Histogram) {
        for index in self.counts.indices { self.counts[index] += other.counts[index] }
        self.sum += other.sum
    }
}
