/// Histogram of latencies in fixed memory of 16 KiB: exact below 64 us, within 1.6 % (1/64) above.
struct LatencyHistogram: Hashable, Sendable {
    private static let subBuckets: UInt64 = 64

    private var counts = [UInt64](repeating: 0, count: 2048)
    private(set) var count: UInt64 = 0
    private(set) var greatest: UInt64 = 0

    /// Counts a latency.
    mutating func record(microseconds: UInt64) {
        self.counts[min(Self.bucket(microseconds), self.counts.count - 1)] += 1
        self.count += 1
        self.greatest = max(self.greatest, microseconds)
    }

    /// The latency that this share of all values does not exceed.
    /// - Parameter share: from 0 to 1; 0.5 for the median, 1 for the maximum.
    /// - Returns: microseconds: the start of the bucket in which that share of all values is reached; 0 without values.
    func percentile(_ share: Double) -> UInt64 {
        guard self.count > 0 else { return 0 }
        if share >= 1 { return self.greatest }
        let wanted = max(1, UInt64((share * Double(self.count)).rounded(.up)))
        var seen: UInt64 = 0
        for (index, count) in self.counts.enumerated() {
            seen += count
            if seen >= wanted { return Self.start(of: index) }
        }
        return self.greatest
    }

    /// The index of the bucket that counts a value. Log-linear: 64 buckets for each power of two.
    static func bucket(_ value: UInt64) -> Int {
        guard value >= Self.subBuckets else { return Int(value) }
        let shift = 63 - value.leadingZeroBitCount - 6
        return Int(Self.subBuckets) * (shift + 1) + Int((value >> UInt64(shift)) & (Self.subBuckets - 1))
    }

    /// The lowest value that the bucket with this index counts.
    static func start(of bucket: Int) -> UInt64 {
        guard bucket >= Int(Self.subBuckets) else { return UInt64(bucket) }
        let shift = bucket / Int(Self.subBuckets) - 1
        return (Self.subBuckets + UInt64(bucket) % Self.subBuckets) << UInt64(shift)
    }
}
