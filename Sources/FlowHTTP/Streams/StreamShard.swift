import FlowCore
import Logging
import NIOCore
import Synchronization

/// The event streams of one event loop, with the flows that they watch. Confined to the loop: no lock, no task and no
/// await is on the way of an event from here on.
final class StreamShard {
    /// Writes of a pass before the loop looks at its sockets again; 256 take about two milliseconds.
    static let writesPerSlice = 256
    /// How often a pass lets requests that were already read go first.
    static let maximumDeferrals = 64

    let loop: any EventLoop
    let services: StreamServices
    let sinkIndex: Int
    var counters = StreamCounters()

    private(set) var fanouts: [FlowID: FlowFanout] = [:]
    private(set) var streamCount = 0
    var lingeringFlows = Set<FlowID>()
    private var emptyFanouts = Set<FlowID>()
    private var openingStreams: [ObjectIdentifier: EventStream] = [:]
    private var heartbeatWheel: HeartbeatWheel
    private var feedStreams: [ObjectIdentifier: EventStream] = [:]

    private var flowsInPass: [FlowFanout] = []
    private var isPassScheduled = false
    private var deferrals = 0
    /// Ordinary requests that were read and wait for their turn on this loop.
    var pendingRequestParts = 0

    private lazy var queueShare = self.services.queuedBytesBudget.register {
        [loop = self.loop, shard = NIOLoopBound(self, eventLoop: self.loop)] in
        loop.execute { shard.value.shedLoad() }
    }

    private var registryChanges: [RegistryChange] = []
    private var delivery: DeliveryStatus
    private var isDraining = false

    init(loop: any EventLoop, services: StreamServices, sinkIndex: Int) {
        self.loop = loop
        self.services = services
        self.sinkIndex = sinkIndex
        self.heartbeatWheel = HeartbeatWheel(slots: services.configuration.heartbeatSeconds)
        self.delivery = services.health.delivery
    }

    func now() -> Timestamp { self.services.now() }

    func jitteredRetry() -> Int {
        let base = self.services.configuration.retryMilliseconds
        return base / 2 + Int.random(in: 0...base)
    }

    // MARK: Opening

    /// Opens a stream, or declines it. `stream.request` was checked against the token already.
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
        self.proceed(with: stream)
    }

    /// Goes on with a stream that waits for its flows.
    func proceed(with stream: EventStream) {
        guard stream.state == .opening else { return }
        if stream.isFeed {
            self.startFeed(stream)
            return
        }
        var isReady = true
        var fanouts: [FlowFanout] = []
        for flow in stream.request.flows {
            let fanout = self.fanout(of: flow)
            fanouts.append(fanout)
            if !fanout.isOpen {
                isReady = false
                fanout.openWaiters[ObjectIdentifier(stream)] = stream
            }
        }
        guard isReady else { return }
        for fanout in fanouts {
            if let account = fanout.account, account != stream.principal.account {
                stream.reject(.problem(.otherAccount))
                return
            }
        }
        if let claimed = stream.claimedVersions, fanouts.allSatisfy({ $0.head?.status.isTerminal == true }),
            zip(fanouts, claimed).allSatisfy({ $0.version == $1 })
        {
            self.confirmEnd(of: stream, claimed: claimed)
            return
        }
        self.start(stream, fanouts: fanouts)
    }

    /// Everything has ended as far as this loop knows. The last word is the store's: the flow may have been opened again.
    private func confirmEnd(of stream: EventStream, claimed: [Version]) {
        let flows = stream.request.flows
        self.load { services in
            try await services.manager.heads(of: flows)
        } then: { [self] (heads: [FlowHead]?) in
            // Begun anew meanwhile: the claim was of another history.
            guard stream.state == .opening, stream.claimedVersions == claimed else {
                self.proceed(with: stream)
                return
            }
            guard let heads else {
                stream.close(.unavailable, retryMilliseconds: self.jitteredRetry())
                return
            }
            let ended = zip(flows, claimed).allSatisfy { flow, version in
                heads.contains { $0.flow == flow && $0.version == version && $0.status.isTerminal }
            }
            if ended {
                stream.reject(.noContent)
            } else {
                // Opened again, and this loop is about to hear of it. The client comes back to it in a moment.
                _ = self.services.table.applySweep(flows, heads: heads, delivered: [:])
                stream.close(.unavailable, retryMilliseconds: self.jitteredRetry())
            }
        }
    }

    private func start(_ stream: EventStream, fanouts: [FlowFanout]) {
        self.openingStreams[ObjectIdentifier(stream)] = nil
        self.heartbeatWheel.insert(stream)
        self.change(.register(stream.registryEntries))
        self.services.logger.debug(
            "A stream began", metadata: ["connection": "\(stream.number)", "flows": "\(stream.request.flows.count)"])
        stream.start(fanouts: fanouts, extraHeaders: stream.request.responseHeaders)
    }

    private func startFeed(_ stream: EventStream) {
        self.openingStreams[ObjectIdentifier(stream)] = nil
        self.heartbeatWheel.insert(stream)
        self.feedStreams[ObjectIdentifier(stream)] = stream
        let reader = FeedReader(stream, shard: self)
        stream.feedReader = reader
        stream.start(fanouts: [], extraHeaders: stream.request.responseHeaders)
        reader.start()
    }

    /// The stream ended, for whatever reason.
    func closed(_ stream: EventStream) {
        self.streamCount -= 1
        self.services.logger.debug("A stream ended", metadata: ["connection": "\(stream.number)"])
        self.services.release(stream.principal)
        if self.openingStreams.removeValue(forKey: ObjectIdentifier(stream)) != nil {
            for flow in stream.request.flows { self.fanouts[flow]?.openWaiters[ObjectIdentifier(stream)] = nil }
            return
        }
        self.heartbeatWheel.remove(stream)
        if self.feedStreams.removeValue(forKey: ObjectIdentifier(stream)) != nil {
            if stream.feedReader?.isRegistered == true {
                self.services.feedMembershipChanged(.left(account: stream.principal.account))
            }
        } else if !stream.request.flows.isEmpty {
            self.change(.unregister(stream.registryEntries))
        }
    }

    /// Ends the stream of this number, if it is here.
    func disconnect(_ number: UInt64) {
        self.forEachStream { if $0.number == number { $0.close(.revoked, reconnect: true) } }
    }

    // MARK: Flows

    private func fanout(of flow: FlowID) -> FlowFanout {
        if let fanout = self.fanouts[flow] { return fanout }
        let fanout = FlowFanout(flow: flow, epoch: self.services.manager.epoch, shard: self)
        self.fanouts[flow] = fanout
        self.emptyFanouts.insert(flow)
        self.services.table.watch(flow, sink: self.sinkIndex)
        return fanout
    }

    func fanoutOccupied(_ fanout: FlowFanout) { self.emptyFanouts.remove(fanout.flow) }
    /// It stays for a moment: a reader that reconnects finds its history in memory.
    func fanoutEmptied(_ fanout: FlowFanout) { self.emptyFanouts.insert(fanout.flow) }

    private func removeEmptyFanouts() {
        for flow in self.emptyFanouts {
            guard let fanout = self.fanouts[flow] else { continue }
            guard fanout.subscriberCount == 0, fanout.openWaiters.isEmpty else { continue }
            self.fanouts[flow] = nil
            self.lingeringFlows.remove(flow)
            self.services.table.unwatch(flow, sink: self.sinkIndex)
        }
        self.emptyFanouts = self.emptyFanouts.filter { self.fanouts[$0] != nil }
    }

    // MARK: Deliveries

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
                let block = self.heartbeat()
                self.forEachStream { $0.sendIfWritable(block) }
            case .revoked(let list):
                self.forEachStream { if list.isRevoked($0.principal) { $0.close(.revoked) } }
                for stream in Array(self.openingStreams.values) where list.isRevoked(stream.principal) { stream.close(.revoked) }
            }
        }
    }

    /// Tells the feeds of an account what changed.
    func deliverFeedChanges(_ heads: [FlowHead], account: String) {
        for stream in Array(self.feedStreams.values) where stream.principal.account == account {
            stream.feedReader?.changed(heads)
        }
    }

    func enqueue(_ fanout: FlowFanout) {
        if !fanout.isInPass {
            fanout.isInPass = true
            self.flowsInPass.append(fanout)
        }
        self.schedulePass()
    }

    private func schedulePass() {
        guard !self.isPassScheduled else { return }
        self.isPassScheduled = true
        self.deferrals = 0
        self.loop.assumeIsolated().execute { self.runPassSlice() }
    }

    /// A slice of the pass. Requests that were read already go first, so that what they publish shares the writes.
    private func runPassSlice() {
        if self.pendingRequestParts > 0, self.deferrals < Self.maximumDeferrals {
            self.deferrals += 1
            self.loop.assumeIsolated().execute { self.runPassSlice() }
            return
        }
        self.deferrals = 0
        var budget = Self.writesPerSlice
        while budget > 0, let fanout = self.flowsInPass.first {
            budget = fanout.deliver(budget: budget)
            self.flowsInPass.removeFirst()
            if fanout.slotsLeftInPass > 0 {
                self.flowsInPass.append(fanout)
            } else {
                fanout.isInPass = false
            }
        }
        if self.flowsInPass.isEmpty {
            self.isPassScheduled = false
        } else {
            // A timer rather than another task: between tasks the loop does not look at its sockets.
            self.loop.assumeIsolated().scheduleTask(in: .microseconds(20)) { self.runPassSlice() }
        }
    }

    // MARK: Queues

    /// Whether readers may be fed from history: what waits for slow peers is within its limit.
    var hasQueueBudget: Bool { self.services.queuedBytesBudget.bytes < self.services.configuration.maximumQueuedBytes }
    var isOverQueueBudget: Bool { !self.hasQueueBudget }

    /// A stream holds so much now.
    func queued(_ bytes: Int, changedBy difference: Int) {
        self.services.queuedBytesBudget.changed(by: difference)
        self.queueShare.raiseLargest(bytes)
    }

    /// The memory for slow peers is used up: those that hold most of it go, until it is not, on whichever loop they are.
    func shedLoad() {
        self.queueShare.sheddingStarted()
        while self.isOverQueueBudget {
            let largest = self.heartbeatWheel.all.max { $0.countedQueue < $1.countedQueue }
            let bytes = largest?.countedQueue ?? 0
            self.queueShare.setLargest(bytes)
            if let otherShare = self.services.queuedBytesBudget.larger(than: bytes) { return otherShare.requestShedding() }
            guard let largest, bytes > 0 else { return }
            largest.shed()
        }
    }

    // MARK: Time

    /// Once a second.
    func tick() {
        let block = self.heartbeat()
        for stream in self.heartbeatWheel.advance() { stream.sendIfWritable(block) }
        let seconds = self.now().seconds
        self.forEachStream { stream in
            if let end = stream.principal.endsAt(leeway: self.services.leewaySeconds), end <= seconds {
                stream.close(.expired)
                return
            }
            stream.measureQueue()
            if !self.isOverQueueBudget, stream.isOpen, stream.isWritable {
                stream.advanceReaders()
            }
        }
        if self.isOverQueueBudget { self.shedLoad() }
        for stream in Array(self.openingStreams.values) {
            stream.ticksOpening += 1
            if stream.ticksOpening > self.services.configuration.openSeconds {
                stream.close(.unavailable, retryMilliseconds: self.jitteredRetry())
            }
        }
        for flow in self.lingeringFlows {
            guard let fanout = self.fanouts[flow], fanout.lingerHasExpired else { continue }
            // Who has not been given the last event yet gets it first, and ends with the next tick.
            fanout.forEachSubscription { subscription in
                guard subscription.reader.isLive, subscription.reader.cursor >= fanout.version else { return }
                subscription.stream.end(subscription, fanout.closingReason)
            }
        }
        self.sendPresence()
        self.removeEmptyFanouts()
    }

    private func heartbeat() -> ByteBuffer {
        var block = ByteBuffer()
        block.writeHeartbeat(at: self.now(), delivery: self.delivery)
        return block
    }

    private func sendPresence() {
        for fanout in self.fanouts.values where fanout.presenceCount > 0 && fanout.isOpen {
            // The registry is told in batches: who has just come is counted here before there.
            let count = max(self.services.registry.count(of: fanout.flow), fanout.subscriberCount)
            guard count != fanout.lastSentPresence else { continue }
            fanout.lastSentPresence = count
            var block = ByteBuffer()
            block.writePresence(fanout.flow, count: count)
            fanout.forEachSubscription { if $0.stream.wantsPresence { $0.stream.sendIfWritable(block) } }
        }
    }

    // MARK: Draining

    /// Closes every stream at a moment of its own within the window, so that those who come back do not come together.
    func drain(over window: TimeAmount) {
        guard !self.isDraining else { return }
        self.isDraining = true
        for stream in Array(self.openingStreams.values) { stream.close(.drain, retryMilliseconds: self.jitteredRetry()) }
        let streams = self.heartbeatWheel.all.shuffled()
        for (index, stream) in streams.enumerated() {
            let delay = window.nanoseconds * Int64(index) / Int64(max(1, streams.count))
            self.loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) {
                stream.close(.drain, retryMilliseconds: self.jitteredRetry())
            }
        }
    }

    // MARK: Private

    func forEachStream(_ body: (EventStream) -> Void) {
        for stream in self.heartbeatWheel.all where stream.isOpen { body(stream) }
    }

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

    /// Does something that waits, off the loop, and goes on here with the result; `nil` if it failed.
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
