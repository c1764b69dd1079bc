import DequeModule
import NIOCore
import NIOHTTP1
import NIOPosix

/// Benchmark of deliveries to many subscribers: throughput, latency, and the hub's CPU time and memory.
///
/// Confined to its event loop. It uses one loop only, because it shares the machine with the hub; for more load run several
/// processes.
final class StreamBench {
    /// The parameters of one run.
    struct Plan: Sendable {
        let target: BenchTarget
        /// Where events are published. May be another instance of the same hub.
        let publishing: BenchTarget
        let subscribers: Int
        let flows: Int
        let publishers: Int
        /// Number of publications in flight (closed loop). A publication is done when all subscribers of its flow have read it.
        let window: Int
        /// Publications per second (open loop); `nil`: a closed loop with ``window``.
        let rate: Int?
        let isDurable: Bool
    }

    private enum Phase: Equatable {
        /// Opening the streams.
        case connecting
        /// All streams are open; the publishers connect.
        case settling
        /// Publishing, not measured.
        case warmingUp
        /// Publishing, measured.
        case measuring
        /// Not publishing; waiting for expected deliveries.
        case draining
        /// The benchmark has ended.
        case over
    }

    /// Maximum number of streams that are being opened at the same time.
    private static let maximumOpening = 256
    private static let connectSeconds: Int64 = 60
    private static let stallNanoseconds: UInt64 = 3_000_000_000
    private static let maximumStalls = 3
    /// Maximum number of publications without a response. While this many have none, an open loop skips (never sends) the
    /// publications that are due.
    private static let maximumUnanswered = 20_000

    private let plan: Plan
    private let loop: any EventLoop
    private let promise: EventLoopPromise<BenchReport>
    private var phase = Phase.connecting
    private var opened = 0
    private var ready = 0
    private var closed = 0
    private var publishers: [BenchRequester] = []
    private var unanswered: [Deque<Int>] = []
    private var tracker: DeliveryTracker
    private var nextFlow = 0
    private var nextPublication: UInt64 = 0
    private var lastArrival: UInt64 = 0
    private var stalls = 0
    private var metrics = StreamBenchMetrics()

    init(_ plan: Plan, loop: any EventLoop) {
        self.plan = plan
        self.loop = loop
        self.promise = loop.makePromise()
        self.tracker = DeliveryTracker(
            flows: plan.flows, subscribers: plan.subscribers, start: NIODeadline.now().uptimeNanoseconds)
    }

    /// Runs the benchmark on a thread of its own.
    /// - Throws: ``CommandFailure`` if the measurement failed.
    static func run(_ plan: Plan) async throws -> BenchReport {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.any()
        let result: Result<BenchReport, any Error>
        do {
            result = .success(try await loop.flatSubmit { StreamBench(plan, loop: loop).start() }.get())
        } catch {
            result = .failure(error)
        }
        try await group.shutdownGracefully()
        return try result.get()
    }

    /// Starts to open the streams.
    /// - Returns: a future, which completes with the report when the benchmark has ended.
    private func start() -> EventLoopFuture<BenchReport> {
        self.metrics.beforeConnect = self.plan.target.server()
        self.metrics.connectStart = Self.now
        self.openMore()
        self.after(.seconds(Self.connectSeconds)) { bench in
            guard bench.phase == .connecting else { return }
            bench.fail("Only \(bench.ready) of \(bench.plan.subscribers) streams opened within \(Self.connectSeconds) s.")
        }
        // This closure retains the benchmark until the benchmark has ended; all other callbacks capture it weakly.
        self.promise.futureResult.assumeIsolated().whenComplete { _ in self.phase = .over }
        return self.promise.futureResult
    }

    // MARK: Connecting

    /// Opens further streams while fewer than ``maximumOpening`` are being opened.
    private func openMore() {
        while self.phase == .connecting, self.opened < self.plan.subscribers, self.opened - self.ready < Self.maximumOpening {
            let flow = self.opened % self.plan.flows
            self.opened += 1
            let handler = BenchSubscriber(target: self.plan.target, flow: flow, owner: self)
            let bound = NIOLoopBound(handler, eventLoop: self.loop)
            ClientBootstrap(group: self.loop)
                .connectTimeout(.seconds(10))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(bound.value) }
                }
                .connect(host: self.plan.target.host, port: self.plan.target.hub.port)
                .assumeIsolated()
                .whenFailure { [weak self] error in self?.fail("A subscriber could not connect: \(HubClient.describe(error)).") }
        }
    }

    /// Measures the hub's memory 500 ms after all streams are open, and then connects the publishers.
    private func settle() {
        self.phase = .settling
        self.metrics.connectEnd = Self.now
        self.after(.milliseconds(500)) { bench in
            bench.metrics.afterConnect = bench.plan.target.server()
            bench.connectPublishers()
        }
    }

    /// Connects the publishers, and then starts the load.
    private func connectPublishers() {
        let connecting = (0..<self.plan.publishers).map { _ in
            BenchRequester.connect(self.plan.publishing, contentType: "application/json", on: self.loop)
        }
        EventLoopFuture.whenAllSucceed(connecting, on: self.loop).assumeIsolated().whenComplete { [weak self] result in
            guard let self, self.phase == .settling else { return }
            switch result {
            case .failure(let error): self.fail("A publisher could not connect: \(HubClient.describe(error)).")
            case .success(let publishers): self.startLoad(publishers.map(\.value))
            }
        }
    }

    /// Starts publishing: first the warm-up, then the measurement.
    private func startLoad(_ publishers: [BenchRequester]) {
        guard self.closed == 0 else {
            return self.fail(
                "The hub closed \(self.closed) streams before the first publication. "
                    + "Check FLOWHUB_MAX_CONNECTIONS and FLOWHUB_MAX_CONNECTIONS_PER_SUBJECT.")
        }
        self.publishers = publishers
        self.unanswered = publishers.map { _ in [] }
        for (index, publisher) in publishers.enumerated() {
            publisher.onAnswer = { [weak self] status, body in self?.answered(index, status, body) }
            publisher.onClose = { [weak self] in self?.fail("The hub closed a publisher's connection.") }
        }
        self.phase = .warmingUp
        self.nextPublication = Self.now
        self.lastArrival = Self.now
        self.after(.seconds(Int64(self.plan.target.warmup))) { bench in
            bench.phase = .measuring
            bench.metrics.startMeasuring(bench.plan.target)
            bench.after(.seconds(Int64(bench.plan.target.duration))) { $0.drain() }
        }
        self.tick()
        self.fillWindow()
    }

    // MARK: Publishing

    /// In a closed loop: publishes until as many publications are in flight as ``Plan/window`` allows.
    private func fillWindow() {
        guard self.plan.rate == nil, self.phase == .warmingUp || self.phase == .measuring else { return }
        while self.tracker.hasRoom(window: self.plan.window) { self.publish() }
    }

    /// In an open loop: publishes each publication whose time has come. In a closed loop, or while draining: gives up the
    /// expected deliveries if no event has arrived for 3 s. Runs every 1 ms in an open loop, every 100 ms in a closed one.
    private func tick() {
        guard self.phase != .over else { return }
        let now = Self.now
        if let rate = self.plan.rate, self.phase == .warmingUp || self.phase == .measuring {
            let gap = 1_000_000_000 / UInt64(rate)
            while self.nextPublication <= now {
                self.nextPublication += gap
                if self.unanswered.reduce(0, { $0 + $1.count }) < Self.maximumUnanswered {
                    self.publish()
                } else {
                    self.metrics.skipped += 1
                }
            }
        } else if self.tracker.due > 0, now > self.lastArrival + Self.stallNanoseconds {
            self.stalls += 1
            self.lastArrival = now
            self.tracker.writeOff(now: now)
            if self.stalls >= Self.maximumStalls, self.phase != .draining {
                return self.fail(
                    "No event was delivered for 3 s, \(self.stalls) times. The measurement would not be valid.")
            }
            self.fillWindow()
        }
        self.after(self.plan.rate == nil ? .milliseconds(100) : .milliseconds(1)) { $0.tick() }
    }

    /// Publishes one event to the next flow, with the next publisher.
    private func publish() {
        let flow = self.nextFlow
        self.nextFlow = (flow + 1) % self.plan.flows
        let index = Int(self.metrics.published % UInt64(self.publishers.count))
        self.metrics.published += 1
        if self.phase == .measuring { self.metrics.publishedMeasured += 1 }
        self.tracker.published(flow: flow)
        self.unanswered[index].append(flow)
        let payload = self.plan.target.payload(nanoseconds: Self.now)
        let body = "{\"type\":\"bench\",\"durable\":\(self.plan.isDurable),\"data\":{\"m\":\"\(payload)\"}}"
        self.publishers[index].send(.POST, "/v1/flows/\(self.plan.target.flow(flow))/events", ByteBuffer(string: body))
    }

    /// Counts the response to the oldest unanswered publication of the publisher with this index.
    private func answered(_ index: Int, _ status: Int, _ body: [UInt8]) {
        guard let flow = self.unanswered[index].popFirst() else { return }
        if (200..<300).contains(status) {
            self.metrics.acknowledged += 1
        } else if status == 429 || status >= 500 {
            self.metrics.rejected += 1
            self.tracker.rejected(flow: flow)
            // Publishes later, not in this call: otherwise a hub that rejects immediately would cause an endless loop.
            self.after(.milliseconds(20)) { $0.fillWindow() }
        } else {
            self.fail(HubProblem(status: status, body: body).failure)
        }
    }

    // MARK: Finishing

    /// Ends the measurement, and waits up to 5 s for the expected deliveries.
    private func drain() {
        guard self.phase == .measuring else { return }
        self.metrics.stopMeasuring(self.plan.target)
        self.phase = .draining
        self.finishWhenDrained(until: Self.now + 5_000_000_000)
    }

    /// Ends the benchmark when all expected deliveries have arrived, or at the deadline (monotonic clock, nanoseconds).
    private func finishWhenDrained(until deadline: UInt64) {
        guard self.tracker.due > 0, Self.now < deadline else {
            return self.promise.succeed(
                self.metrics.report(self.plan, lost: self.tracker.due + self.tracker.writtenOff, closed: self.closed))
        }
        self.after(.milliseconds(20)) { $0.finishWhenDrained(until: deadline) }
    }

    /// Ends the benchmark with a failure of kind `unreachable`.
    private func fail(_ message: String) { self.fail(CommandFailure(.unreachable, message)) }

    /// Ends the benchmark with a failure, unless it has ended already.
    private func fail(_ failure: CommandFailure) {
        guard self.phase != .over else { return }
        self.promise.fail(failure)
    }

    private static var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    /// Runs `work` after a delay, unless the benchmark has ended by then.
    private func after(_ delay: TimeAmount, _ work: @escaping (StreamBench) -> Void) {
        self.loop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            if let self, self.phase != .over { work(self) }
        }
    }
}

extension StreamBench: BenchSubscriber.Owner {
    /// Counts the open stream. Starts the phase `settling` when all streams are open; otherwise opens further ones.
    func subscriberReady() {
        self.ready += 1
        guard self.phase == .connecting else { return }
        if self.ready == self.plan.subscribers { self.settle() } else { self.openMore() }
    }

    /// Ends the benchmark: its number of streams cannot be reached.
    func subscriberRejected(_ answer: String) {
        self.fail(CommandFailure(.rejected, "The hub rejected a stream: \(Terminal.sanitized(answer))"))
    }

    /// Counts the delivery. While measuring, also records its latency: the time from `stamp` to `now`.
    func subscriberRead(_ stamp: UInt64, now: UInt64) {
        guard self.tracker.received(stamp: stamp), self.phase == .measuring else { return }
        self.metrics.delivered += 1
        self.metrics.latencies.record(microseconds: now > stamp ? (now - stamp) / 1000 : 0)
    }

    /// Stores the time of the most recent arrival, and in a closed loop publishes the next events.
    func subscriberReadAll(now: UInt64) {
        self.lastArrival = now
        self.fillWindow()
    }

    /// Counts the closed stream. Ends the benchmark if the hub had not answered the stream's request with status 200.
    func subscriberClosed(flow: Int, wasReady: Bool) {
        guard self.phase != .over else { return }
        self.closed += 1
        self.tracker.subscriberClosed(flow: flow)
        if !wasReady { self.fail("The hub closed a stream without a response.") }
    }
}
