import FlowCore
import NIOCore

/// Counters of the streams of one event loop. They need no atomics: only the loop reads and writes them.
struct StreamCounters: Sendable {
    /// Events written to subscribers, counted once per subscriber.
    var deliveries = 0
    /// How often a live subscription fell behind, or a feed dropped a change.
    var slowSubscribers = 0
    private(set) var resyncs: [ResyncReason: Int] = [:]
    private(set) var closings: [ClosingReason: Int] = [:]
    private(set) var lag = Histogram(Histogram.latencyBounds)

    /// Counts a `resync` that is sent to a subscriber.
    mutating func resynced(_ reason: ResyncReason) { self.resyncs[reason, default: 0] += 1 }
    /// Counts a stream that the hub closes.
    mutating func closed(_ reason: ClosingReason) { self.closings[reason, default: 0] += 1 }

    /// Records the time from an event's commit to its fan-out on this loop. If another machine committed the event, the time
    /// includes the difference of the two machines' clocks.
    mutating func observe(lagOf frame: Frame, now: Timestamp) {
        self.lag.observe(Double(max(0, now.milliseconds - frame.createdAt.milliseconds)) / 1000)
    }

    /// Adds the counters of another event loop.
    mutating func add(_ other: StreamCounters) {
        self.deliveries += other.deliveries
        self.slowSubscribers += other.slowSubscribers
        self.resyncs.merge(other.resyncs, uniquingKeysWith: +)
        self.closings.merge(other.closings, uniquingKeysWith: +)
        self.lag.add(other.lag)
    }
}
