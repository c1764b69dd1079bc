import NIOCore

/// The counters and measurements of a stream benchmark.
struct StreamBenchMetrics {
    // The hub's usage before the first stream is opened, and 500 ms after the last one; `nil`: not measured.
    var beforeConnect: ProcessUsage?
    var afterConnect: ProcessUsage?
    // When the opening of the streams began and ended, in nanoseconds of the monotonic clock.
    var connectStart: UInt64 = 0
    var connectEnd: UInt64 = 0
    /// Number of publications sent, including those of the warm-up.
    var published: UInt64 = 0
    /// Number of publications sent during the measurement.
    var publishedMeasured: UInt64 = 0
    /// Number of publications answered with 2xx, in the whole run.
    var acknowledged: UInt64 = 0
    /// Number of publications answered with 429 or 5xx, in the whole run.
    var rejected: UInt64 = 0
    /// Number of publications that an open loop skipped, because too many earlier ones were without a response.
    var skipped: UInt64 = 0
    /// Number of deliveries during the measurement.
    var delivered: UInt64 = 0
    var latencies = LatencyHistogram()

    private var start: UInt64 = 0
    private var stop: UInt64 = 0
    private var serverStart: ProcessUsage?
    private var serverStop: ProcessUsage?
    private var clientStart: ProcessUsage?
    private var clientStop: ProcessUsage?

    /// Records the start of the measurement, with the CPU time of the hub and of this process.
    mutating func startMeasuring(_ target: BenchTarget) {
        self.start = NIODeadline.now().uptimeNanoseconds
        self.serverStart = target.server()
        self.clientStart = ProcessUsage(of: "self")
    }

    /// Records the end of the measurement, with the CPU time of the hub and of this process.
    mutating func stopMeasuring(_ target: BenchTarget) {
        self.stop = NIODeadline.now().uptimeNanoseconds
        self.serverStop = target.server()
        self.clientStop = ProcessUsage(of: "self")
    }

    /// Creates the report. `lost`: number of deliveries that did not arrive, `closed`: number of streams that the hub
    /// closed.
    func report(_ plan: StreamBench.Plan, lost: Int, closed: Int) -> BenchReport {
        let seconds = max(Double(self.stop - self.start) / 1e9, 0.001)
        let server = Self.cpu(self.serverStart, self.serverStop)
        let connections = Double(plan.subscribers)
        var report = BenchReport()
        report.add("conns", "subscribers", plan.subscribers)
        report.add("flows", "flows", plan.flows)
        report.add("size", "payload bytes", plan.target.payloadBytes)
        if let rate = plan.rate {
            report.add("rate", "target publications per second", rate)
        } else {
            report.add("window", "publications in flight", plan.window)
        }
        report.add("durable", "durable (1) or transient (0)", plan.isDurable ? 1 : 0)
        report.add("connect_s", "seconds to connect", Double(self.connectEnd - self.connectStart) / 1e9, decimals: 2)
        report.add(
            "connect_cpu_us", "server CPU us per connect",
            Self.cpu(self.beforeConnect, self.afterConnect).map { $0 * 1e6 / connections }, decimals: 1)
        if let before = self.beforeConnect, let after = self.afterConnect {
            report.add(
                "kib_per_conn", "server KiB per connection", max(0, after.residentKiB - before.residentKiB) / connections,
                decimals: 2)
        }
        report.add("published", "publications", self.publishedMeasured)
        report.add("published_per_s", "publications per second", Double(self.publishedMeasured) / seconds, decimals: 1)
        report.add("deliveries", "deliveries", self.delivered)
        report.add("deliveries_per_s", "deliveries per second", Double(self.delivered) / seconds, decimals: 0)
        report.add(
            "server_cpu_us_per_delivery", "server CPU us per delivery",
            self.delivered == 0 ? nil : server.map { $0 * 1e6 / Double(self.delivered) }, decimals: 3)
        report.add("server_cpu", "server cores used", server.map { $0 / seconds }, decimals: 2)
        report.add(
            "client_cpu", "client cores used", Self.cpu(self.clientStart, self.clientStop).map { $0 / seconds }, decimals: 2)
        report.add(self.latencies)
        report.add("lost", "deliveries lost", lost)
        report.add("closed", "streams closed", closed)
        report.add("pub_ok", "publications acknowledged", self.acknowledged)
        report.add("pub_bad", "publications rejected (429, 5xx)", self.rejected)
        if plan.rate != nil { report.add("skipped", "publications skipped", self.skipped) }
        return report
    }

    /// CPU seconds between two readings; `nil` if one is missing.
    private static func cpu(_ from: ProcessUsage?, _ to: ProcessUsage?) -> Double? {
        guard let from, let to else { return nil }
        return to.cpuSeconds - from.cpuSeconds
    }
}
