import FlowCore
import NIOCore

/// A histogram in the form of Prometheus: a count for each bucket, and the sum of all values.
struct Histogram: Sendable {
    /// Upper bounds of the buckets in seconds.
    static let latencyBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    let bounds: [Double]
    /// Number of values in each bucket; the last bucket has the values above all bounds.
    private(set) var counts: [Int]
    private(set) var sum = 0.0

    /// Creates a histogram without values. The bounds must ascend.
    init(_ bounds: [Double]) {
        self.bounds = bounds
        self.counts = Array(repeating: 0, count: bounds.count + 1)
    }

    /// Number of all values.
    var total: Int { self.counts.reduce(0, +) }

    /// Counts a value.
    mutating func observe(_ value: Double) {
        var index = 0
        while index < self.bounds.count, value > self.bounds[index] { index += 1 }
        self.counts[index] += 1
        self.sum += value
    }

    /// Adds the counts of a histogram with the same bounds.
    mutating func add(_ other: Histogram) {
        for index in self.counts.indices { self.counts[index] += other.counts[index] }
        self.sum += other.sum
    }
}
