import DequeModule
import FlowCore
import Logging
import NIOCore
import Synchronization

/// The event streams and fan-outs of one event loop. Confined to the loop, so events are delivered without locks, tasks and
/// suspension.
final class StreamShard {
    /// Maximum number of writes to subscribers in one slice of a pass. After each slice the loop polls its sockets. 256 writes
    /// take about 2 ms.
    static let writesPerSlice = 256
    /// Maximum number of times that one slice of a pass is postponed because parts of ordinary requests wait to be processed
    /// (``pendingRequestParts``).
    static let maximumDeferrals = 64

    let loop: any EventLoop
    let services: StreamServices
    /// Number of this shard's delivery sink in the watch table.
    let sinkIndex: Int
    var counters = StreamCounters()

    private(set) var fanouts: [FlowID: FlowFanout] = [:]
    private(set) var streamCount = 0
    /// Terminal flows whose subscriptions stay open for late events.
    var lingeringFlows = Set<FlowID>()
    /// Flows whose fan-out has no subscription. At the next tick such a fan-out is removed, unless it is one of an opening
    /// stream.
    private var emptyFanouts = Set<FlowID>()
    /// Streams that wait for the fan-outs of their flows to be open.
    private(set) var openingStreams: [ObjectIdentifier: EventStream] = [:]
    var heartbeatWheel: HeartbeatWheel
    /// The open streams of `/v1/feed`.
    private var feedStreams: [ObjectIdentifier: EventStream] = [:]

    /// The fan-outs with events that some live subscriber was not sent yet, in the order in which the pass writes them.
    private var flowsInPass: Deque<FlowFanout> = []
    /// Whether a pass is in progress: its next slice is scheduled or running.
    private var isPassScheduled = false
    /// Number of times that the next slice was postponed; see ``maximumDeferrals``.
    private var deferrals = 0
    /// Number of parts of ordinary requests (request head, chunk of a body, or end) that were read and wait to be processed on
    /// this loop.
    var pendingRequestParts = 0

    /// Bytes of the states and encoded snapshots of all fan-outs; at least the exact number. See ``keep(_:in:)``.
    var keptBytes = 0

    /// The streams with queued bytes, ordered so that the one with the most is found at once.
    private var queueRanking = QueueRanking()

    /// What ``QueuedBytesBudget`` stores for this event loop.
    private lazy var queueShare = self.services.queuedBytesBudget.register {
        [loop = self.loop, shard = NIOLoopBound(self, eventLoop: self.loop)] in
        loop.execute { shard.value.shedLoad() }
    }

    /// Changes for the connection registry that were not reported yet; see ``change(_:)``.
    private var registryChanges: [RegistryChange] = []
    /// The delivery status that heartbeats report.
    private(set) var delivery: DeliveryStatus
    var isDraining = false

    init(loop: any EventLoop, services: StreamServices, sinkIndex: Int) {
        self.loop = loop
        self.services = services
        self.sinkIndex = sinkIndex
        self.heartbeatWheel = HeartbeatWheel(slots: services.configuration.heartbeatSeconds)
        self.delivery = services.health.delivery
    }

    /// The current time by the hub's clock.
    func now() -> Timestamp { self.services.now() }

    /// A random SSE `retry:` in milliseconds, from half to one and a half times the configured average.
    func jitteredRetry() -> Int {
        let base = self.services.configuration.retryMilliseconds
        return base / 2 + Int.random(in: 0...base)
    }

    // MARK: Opening

    /// Opens a stream, or closes it if the hub is draining or has too many queued bytes. The caller has authorized the request.
    func open(_ stream: EventStream) {
        self.streamCount += 1
        if self.isDraining || self.services.isDraining {
            stream.close(.drain, retryMilliseconds: self.jitteredRetry())
            return
        }
        if self.isOverQueueBudget {
            self.services.countRefusal(.full)
            stream.close(.full, retryMilliseconds: self.jitteredRetry())
            return
        }
        self.openingStreams[ObjectIdentifier(stream)] = stream
        for flow in stream.flows { self.fanout(of: flow).openingStreams += 1 }
        self.proceed(with: stream)
    }

    /// Starts the stream if the fan-outs of all its flows are open (``FlowFanout/isOpen``). Otherwise this function is called
    /// again when those that are not have become open. A flow of another account is like one that does not exist.
    func proceed(with stream: EventStream) {
        guard stream.state == .opening else { return }
        if stream.isFeed {
            self.startFeed(stream)
            return
        }
        var fanouts = stream.flows.map { self.fanout(of: $0) }
        let unopened = fanouts.filter { !$0.isOpen }
        for fanout in unopened { fanout.openWaiters[ObjectIdentifier(stream)] = stream }
        stream.awaits(unopened.count)
        guard unopened.isEmpty else { return }
        fanouts = fanouts.map { $0.fanout(for: stream.principal.account) }
        if let claimed = stream.claimedVersions, fanouts.allSatisfy({ $0.head?.status.isTerminal == true }),
            zip(fanouts, claimed).allSatisfy({ $0.version == $1 })
        {
            self.confirmEnd(of: stream, claimed: claimed)
            return
        }
        self.start(stream, fanouts: fanouts)
    }

    /// Answers 204 if the store confirms that every flow is terminal at the version in the client's cursor. The fan-outs of
    /// this event loop show that already, but the store may have a later event after which a flow is no longer terminal.
    /// - Parameter claimed: the versions in the client's cursor, one for each flow of the stream.
    private func confirmEnd(of stream: EventStream, claimed: [Version]) {
        let flows = stream.flows
        self.load { services in
            try await services.manager.heads(of: flows)
        } then: { [self] (heads: [FlowHead]?) in
            // If the epoch was replaced during the read, the versions in the cursor are no longer valid: decide again. If the
            // stream was closed, the call does nothing.
            guard stream.state == .opening, stream.claimedVersions == claimed else {
                self.proceed(with: stream)
                return
            }
            guard let heads else {
                stream.close(.unavailable, retryMilliseconds: self.jitteredRetry())
                return
            }
            var ends: [FlowID: Version] = [:]
            for head in heads where head.status.isTerminal { ends[head.flow] = head.version }
            let ended = zip(flows, claimed).allSatisfy { flow, version in ends[flow] == version }
            if ended {
                stream.reject(.noContent)
            } else {
                // A flow is no longer terminal, and this loop has not received that event yet. The client reconnects after
                // `retry:`.
                _ = self.services.table.applySweep(flows, heads: heads, delivered: [:])
                stream.close(.unavailable, retryMilliseconds: self.jitteredRetry())
            }
        }
    }

    /// Starts a stream whose fan-outs are all open: registers the stream and sends the response head.
    private func start(_ stream: EventStream, fanouts: [FlowFanout]) {
        self.openingStreams[ObjectIdentifier(stream)] = nil
        self.heartbeatWheel.insert(stream)
        stream.isRegistered = true
        self.change(.register(stream.registryEntries))
        self.services.logger.debug(
            "Stream opened",
            metadata: [
                "connection": .stringConvertible(stream.number), "flows": .stringConvertible(stream.flows.count),
            ])
        stream.start(fanouts: fanouts)
        self.openingEnded(stream)
    }

    /// Lets the fan-outs of a stream's flows go, which were kept for it while it was opening. Those that it has joined stay.
    private func openingEnded(_ stream: EventStream) {
        for flow in stream.flows {
            guard let fanout = self.fanouts[flow] else { continue }
            fanout.openingStreams -= 1
            fanout.openWaiters[ObjectIdentifier(stream)] = nil
        }
    }

    /// Starts a stream of `/v1/feed`.
    private func startFeed(_ stream: EventStream) {
        self.openingStreams[ObjectIdentifier(stream)] = nil
        self.heartbeatWheel.insert(stream)
        self.feedStreams[ObjectIdentifier(stream)] = stream
        let reader = FeedReader(stream, filter: stream.filter, shard: self)
        stream.feedReader = reader
        stream.start(fanouts: [])
        reader.start()
    }

    /// Removes a stream that has ended for any reason.
    func closed(_ stream: EventStream) {
        self.streamCount -= 1
        self.services.logger.debug("Stream closed", metadata: ["connection": .stringConvertible(stream.number)])
        self.services.release(stream.principal, flows: stream.flows)
        if self.openingStreams.removeValue(forKey: ObjectIdentifier(stream)) != nil {
            self.openingEnded(stream)
            return
        }
        self.heartbeatWheel.remove(stream)
        if self.feedStreams.removeValue(forKey: ObjectIdentifier(stream)) != nil {
            if stream.feedReader?.isRegistered == true {
                self.services.feedMembershipChanged(.left(account: stream.principal.account))
            }
        } else if stream.isRegistered {
            self.change(.unregister(stream.registryEntries))
        }
    }

    /// Closes the stream with this number, if it is open on this loop. The client may reconnect.
    func disconnect(_ number: UInt64) {
        self.forEachStream { if $0.number == number { $0.close(.revoked, reconnect: true) } }
    }

    // MARK: Flows

    /// The fan-out of a flow; creates it and watches the flow if there is none.
    private func fanout(of flow: FlowID) -> FlowFanout {
        if let fanout = self.fanouts[flow] { return fanout }
        let fanout = FlowFanout(flow: flow, epoch: self.services.manager.epoch, shard: self)
        self.fanouts[flow] = fanout
        self.emptyFanouts.insert(flow)
        self.services.table.watch(flow, sink: self.sinkIndex)
        return fanout
    }

    /// Called when a fan-out gets a subscription: it is not removed at the next tick.
    func fanoutOccupied(_ fanout: FlowFanout) { self.emptyFanouts.remove(fanout.flow) }
    /// Marks a fan-out without subscriptions for removal at the next tick, up to 1 s later. Until then a client that
    /// reconnects finds the recent frames in memory.
    func fanoutEmptied(_ fanout: FlowFanout) { self.emptyFanouts.insert(fanout.flow) }

    /// Removes the fan-outs without subscriptions that no opening stream needs, and ends this loop's interest in their flows.
    func removeEmptyFanouts() {
        for flow in self.emptyFanouts {
            guard let fanout = self.fanouts[flow] else { continue }
            guard fanout.subscriberCount == 0, fanout.absentView?.subscriberCount ?? 0 == 0, fanout.openingStreams == 0
            else { continue }
            self.fanouts[flow] = nil
            self.lingeringFlows.remove(flow)
            self.services.table.unwatch(flow, sink: self.sinkIndex)
        }
        self.emptyFanouts = self.emptyFanouts.filter { self.fanouts[$0] != nil }
    }

    // MARK: Deliveries

    /// Processes deliveries of the watch table in their order.
    func process(_ deliveries: [Delivery]) {
        for delivery in deliveries {
            switch delivery {
            case .opened(let flow, let record, let head, let epoch, let last):
                self.fanouts[flow]?.opened(record, head: head, epoch: epoch, last: last)
            case .events(let flow, let frames, let head):
                self.fanouts[flow]?.received(frames, head: head)
            case .transient(let flow, let account, let event, let frame):
                self.fanouts[flow]?.received(event, frame, account: account)
            case .reset(let epoch):
                self.forEachStream { $0.adopt(epoch) }
                for stream in self.openingStreams.values { stream.adopt(epoch) }
                for fanout in self.fanouts.values { fanout.reset(to: epoch) }
            case .status(let status):
                self.delivery = status
                let heartbeat = self.heartbeat()
                self.forEachStream { $0.sendHeartbeat(heartbeat) }
            case .revoked(let list):
                self.forEachStream { if list.isRevoked($0.principal) { $0.close(.revoked) } }
                for stream in Array(self.openingStreams.values) where list.isRevoked(stream.principal) { stream.close(.revoked) }
            }
        }
    }

    /// Passes changed flows of an account to its open feeds on this loop.
    func deliverFeedChanges(_ heads: [FlowHead], account: String) {
        for stream in Array(self.feedStreams.values) where stream.principal.account == account {
            stream.feedReader?.changed(heads)
        }
    }

    /// Adds a fan-out with new live events to the pass.
    func enqueue(_ fanout: FlowFanout) {
        if !fanout.isInPass {
            fanout.isInPass = true
            self.flowsInPass.append(fanout)
        }
        self.schedulePass()
    }

    /// Schedules the first slice of a pass, unless a pass is in progress.
    private func schedulePass() {
        guard !self.isPassScheduled else { return }
        self.isPassScheduled = true
        self.deferrals = 0
        self.loop.assumeIsolated().execute { self.runPassSlice() }
    }

    /// Runs one slice of the pass. First lets the loop process the parts of ordinary requests that were already read, so that
    /// the events of these requests are sent in the same writes.
    private func runPassSlice() {
        if self.pendingRequestParts > 0, self.deferrals < Self.maximumDeferrals {
            self.deferrals += 1
            self.loop.assumeIsolated().execute { self.runPassSlice() }
            return
        }
        self.deferrals = 0
        var budget = Self.writesPerSlice
        while budget > 0, let fanout = self.flowsInPass.popFirst() {
            budget = fanout.deliver(budget: budget)
            if fanout.slotsLeftInPass > 0 {
                self.flowsInPass.append(fanout)
            } else {
                fanout.isInPass = false
            }
        }
        if self.flowsInPass.isEmpty {
            self.isPassScheduled = false
        } else {
            // A timer instead of a queued task: the loop polls its sockets before a timer fires, but not between queued tasks.
            self.loop.assumeIsolated().scheduleTask(in: .microseconds(20)) { self.runPassSlice() }
        }
    }

    // MARK: Queues

    /// Whether the queued bytes of all streams are below their limit. Only then may readers read history.
    var hasQueueBudget: Bool { self.services.queuedBytesBudget.bytes < self.services.configuration.maximumQueuedBytes }
    /// Whether the queued bytes of all streams have reached their limit.
    var isOverQueueBudget: Bool { !self.hasQueueBudget }

    /// Updates the budget after the queued bytes of a stream have changed.
    /// - Parameters:
    ///   - bytes: the stream's queued bytes now.
    ///   - difference: the change since the previous call for this stream.
    func queued(_ bytes: Int, by stream: EventStream, changedBy difference: Int) {
        self.services.queuedBytesBudget.changed(by: difference)
        self.queueRanking.set(bytes, for: stream)
        self.queueShare.setLargest(self.queueRanking.largest?.bytes ?? 0)
    }

    /// Sheds streams, the one with the most queued bytes first, until the queued bytes of all streams are below their limit. If
    /// the stream with the most queued bytes is on another event loop, requests that loop to shed streams, and returns.
    func shedLoad() {
        self.queueShare.sheddingStarted()
        while self.isOverQueueBudget {
            let largest = self.queueRanking.largest
            if let otherShare = self.services.queuedBytesBudget.larger(than: largest?.bytes ?? 0) {
                return otherShare.requestShedding()
            }
            guard let largest else { return }
            largest.stream.shed()
        }
    }

    // MARK: Private

    /// Calls `body` for each open stream. `body` may close streams.
    func forEachStream(_ body: (EventStream) -> Void) {
        for stream in self.heartbeatWheel where stream.isOpen { body(stream) }
    }

    /// Reports a change to the connection registry, together with all other changes of this turn of the event loop.
    private func change(_ change: RegistryChange) {
        if self.registryChanges.isEmpty {
            self.loop.assumeIsolated().execute {
                let changes = self.registryChanges
                self.registryChanges = []
                self.services.registryChanged(changes)
            }
        }
        self.registryChanges.append(change)
    }

    /// Runs an asynchronous operation off the loop, then calls `then` on the loop with the result, or with `nil` if it failed.
    func load<Value: Sendable>(
        _ work: @escaping @Sendable (StreamServices) async throws -> Value, then: @escaping (Value?) -> Void
    ) {
        let continuation = NIOLoopBound(then, eventLoop: self.loop)
        let services = self.services
        let loop = self.loop
        services.perform {
            let value = try? await work(services)
            loop.execute { continuation.value(value) }
        }
    }
}
