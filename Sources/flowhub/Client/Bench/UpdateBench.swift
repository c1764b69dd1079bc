import NIOCore
import NIOHTTP1
import NIOPosix

/// Benchmark of durable state changes: rate and latency of acknowledgments. Each publisher sends its next change after the
/// response to the previous one.
///
/// Confined to its event loop.
final class UpdateBench {
    /// The parameters of one run.
    struct Plan: Sendable {
        let target: BenchTarget
        let publishers: Int
        let flows: Int
    }

    private enum Phase: Equatable {
        /// Connecting the publishers.
        case connecting
        /// Changing flows, not measured.
        case warmingUp
        /// Changing flows, measured.
        case measuring
        /// The benchmark has ended.
        case over
    }

    private let plan: Plan
    private let loop: any EventLoop
    private let promise: EventLoopPromise<BenchReport>
    private let filler: String
    private var phase = Phase.connecting
    private var publishers: [BenchRequester] = []
    private var sentAt: [UInt64] = []
    private var changes: UInt64 = 0
    private var acknowledged: UInt64 = 0
    private var rejected: UInt64 = 0
    private var latencies = LatencyHistogram()
    private var start: UInt64 = 0
    private var serverStart: ProcessUsage?
    private var clientStart: ProcessUsage?

    init(_ plan: Plan, loop: any EventLoop) {
        self.plan = plan
        self.loop = loop
        self.promise = loop.makePromise()
        self.filler = String(repeating: "a", count: plan.target.payloadBytes)
    }

    /// Runs the benchmark on a thread of its own.
    /// - Throws: ``CommandFailure`` if the measurement failed.
    static func run(_ plan: Plan) async throws -> BenchReport {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.any()
        let result: Result<BenchReport, any Error>
        do {
            result = .success(try await loop.flatSubmit { UpdateBench(plan, loop: loop).run() }.get())
        } catch {
            result = .failure(error)
        }
        try await group.shutdownGracefully()
        return try result.get()
    }

    /// Connects the publishers and starts the load.
    /// - Returns: a future, which completes with the report when the benchmark has ended.
    private func run() -> EventLoopFuture<BenchReport> {
        let connecting = (0..<self.plan.publishers).map { _ in
            BenchRequester.connect(self.plan.target, contentType: "application/merge-patch+json", on: self.loop)
        }
        EventLoopFuture.whenAllSucceed(connecting, on: self.loop).assumeIsolated().whenComplete { result in
            switch result {
            case .failure(let error):
                self.promise.fail(CommandFailure(.unreachable, "A publisher could not connect: \(HubClient.describe(error))."))
            case .success(let publishers): self.startLoad(publishers.map(\.value))
            }
        }
        self.promise.futureResult.assumeIsolated().whenComplete { _ in self.phase = .over }
        return self.promise.futureResult
    }

    /// Sends the first change of each publisher. Starts the measurement after the warm-up, and ends it after its duration.
    private func startLoad(_ publishers: [BenchRequester]) {
        self.phase = .warmingUp
        self.publishers = publishers
        self.sentAt = publishers.map { _ in 0 }
        for index in publishers.indices {
            publishers[index].onAnswer = { [weak self] status, body in self?.answered(index, status, body) }
            publishers[index].onClose = { [weak self] in
                guard let self, self.phase != .over else { return }
                self.promise.fail(CommandFailure(.unreachable, "The hub closed a publisher's connection."))
            }
            self.change(index)
        }
        self.after(.seconds(Int64(self.plan.target.warmup))) { bench in
            bench.phase = .measuring
            bench.start = NIODeadline.now().uptimeNanoseconds
            bench.serverStart = bench.plan.target.server()
            bench.clientStart = ProcessUsage(of: "self")
            bench.after(.seconds(Int64(bench.plan.target.duration))) { $0.promise.succeed($0.report()) }
        }
        // Ends the benchmark if the hub stops responding.
        self.after(.seconds(Int64(self.plan.target.warmup + self.plan.target.duration + 30))) { bench in
            bench.promise.fail(CommandFailure(.unreachable, "The benchmark did not end in time: the hub stopped responding."))
        }
    }

    /// Sends the next change of the publisher with this index: a patch of one flow's state.
    private func change(_ index: Int) {
        guard self.phase != .over else { return }
        self.changes += 1
        self.sentAt[index] = NIODeadline.now().uptimeNanoseconds
        // With more flows than publishers, each change goes to a random flow; otherwise each publisher has a fixed flow.
        let isAny = self.plan.flows > self.publishers.count
        let flow = self.plan.target.flow(isAny ? Int.random(in: 0..<self.plan.flows) : index % self.plan.flows)
        let body = "{\"status\":\"running\",\"n\":\(self.changes),\"m\":\"\(self.filler)\"}"
        self.publishers[index].send(.PATCH, "/v1/flows/\(flow)/state", ByteBuffer(string: body))
    }

    /// Counts the response to the change of the publisher with this index, and starts its next change.
    private func answered(_ index: Int, _ status: Int, _ body: [UInt8]) {
        guard self.phase != .over else { return }
        if (200..<300).contains(status) {
            if self.phase == .measuring {
                self.acknowledged += 1
                self.latencies.record(microseconds: (NIODeadline.now().uptimeNanoseconds - self.sentAt[index]) / 1000)
            }
            self.change(index)
        } else if status == 429 || status >= 500 {
            self.rejected += 1
            self.after(.milliseconds(50)) { $0.change(index) }
        } else {
            self.promise.fail(HubProblem(status: status, body: body).failure)
        }
    }

    /// Creates the report of the measurement, which ends now.
    private func report() -> BenchReport {
        let seconds = max(Double(NIODeadline.now().uptimeNanoseconds - self.start) / 1e9, 0.001)
        let server = self.serverStart.flatMap { start in self.plan.target.server().map { $0.cpuSeconds - start.cpuSeconds } }
        let client = self.clientStart.flatMap { start in ProcessUsage(of: "self").map { $0.cpuSeconds - start.cpuSeconds } }
        var report = BenchReport()
        report.add("publishers", "publishers", self.plan.publishers)
        report.add("flows", "flows", self.plan.flows)
        report.add("size", "payload bytes", self.plan.target.payloadBytes)
        report.add("updates", "changes acknowledged", self.acknowledged)
        report.add("updates_per_s", "changes acknowledged per second", Double(self.acknowledged) / seconds, decimals: 0)
        report.add(
            "server_cpu_us_per_update", "server CPU us per change",
            self.acknowledged == 0 ? nil : server.map { $0 * 1e6 / Double(self.acknowledged) }, decimals: 1)
        report.add("server_cpu", "server cores used", server.map { $0 / seconds }, decimals: 2)
        report.add("client_cpu", "client cores used", client.map { $0 / seconds }, decimals: 2)
        report.add(self.latencies)
        report.add("refused", "changes rejected (429, 5xx)", self.rejected)
        return report
    }

    /// Runs `work` after a delay, unless the benchmark has ended by then.
    private func after(_ delay: TimeAmount, _ work: @escaping (UpdateBench) -> Void) {
        self.loop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            if let self, self.phase != .over { work(self) }
        }
    }
}
