import FlowCore
import NIOCore

/// One event stream (SSE response) of a client: its subscriptions, its cursor, and the events that are sent to it alone.
///
/// Confined to its event loop. It does not depend on the connection's type and writes to a ``StreamOutput``.
final class EventStream {
    enum State {
        /// Waiting for the fan-outs of the stream's flows to be open. The response head was not sent yet.
        case opening
        /// The response head was sent.
        case open
        /// The stream has ended, and its resources were released.
        case closed
    }

    /// Number of the stream, unique within this process.
    let number: UInt64
    let principal: Principal
    /// The client's IP address.
    private let remote: String
    /// The flows in ascending order; empty on a stream of the feed.
    let flows: [FlowID]
    /// Whether the stream is one of `/v1/feed`.
    let isFeed: Bool
    /// Whether the stream gets `presence` events.
    let wantsPresence: Bool
    let shard: StreamShard
    private(set) var state = State.opening

    private var output: (any StreamOutput)?
    private(set) var subscriptions: [Subscription] = []
    /// How the stream's events become bytes.
    let encoder: StreamEncoder
    /// The encoder's ``StreamEncoder/sharedForm``.
    let sharedForm: BlockForm?
    /// Whether the client's cursor is behind, because the type filter left out events.
    var hasUnsentPosition = false
    /// The epoch in the stream's cursor of several flows.
    private(set) var epoch: Epoch
    /// Whether ``advanceReaders()`` is running. A nested call, from a step of the running call, does nothing.
    var isAdvancing = false
    /// The stream's queued bytes as last reported to ``QueuedBytesBudget``.
    private(set) var countedQueue = 0
    /// The subscriptions whose readers may have a next step.
    var queue = SubscriptionQueue()
    /// Number of subscriptions that have not ended.
    private var remainingFlows = 0
    /// What only an opening stream needs. Dropped when the stream opens or ends: cursors and start points of many flows are large.
    private var opening: Opening?

    private final class Opening {
        let request: StreamRequest
        /// Where each flow of the stream starts, derived from the client's cursor.
        private(set) var plan: ResumePlan
        /// Number of the stream's flows whose fan-outs are not open.
        var awaitedFlows = 0
        /// Number of the shard's ticks, one per second, for which the stream has been opening.
        var ticks = 0

        init(_ request: StreamRequest, epoch: Epoch) {
            self.request = request
            self.plan = Self.plan(request, epoch)
        }

        func replan(_ epoch: Epoch) { self.plan = Self.plan(self.request, epoch) }

        private static func plan(_ request: StreamRequest, _ epoch: Epoch) -> ResumePlan {
            ResumePlan(
                position: request.position, flows: request.flows, epoch: epoch, wantsSnapshot: request.wantsSnapshot)
        }
    }

    /// Sends the feed on a stream of `/v1/feed`, which has no subscriptions; `nil` on all other streams.
    var feedReader: FeedReader?
    /// Wheel slot of the stream in the shard's ``HeartbeatWheel``, which sets it; -1 while the stream is not on the wheel.
    var wheelSlot = -1
    /// Index of the stream within its wheel slot. ``HeartbeatWheel`` sets it.
    var wheelIndex = -1
    /// Index of the stream in the shard's ``QueueRanking``, which sets it; -1 while the stream has no queued bytes.
    var rankingIndex = -1

    init(
        number: UInt64, principal: Principal, remote: String, request: StreamRequest, epoch: Epoch, shard: StreamShard,
        output: any StreamOutput
    ) {
        self.number = number
        self.principal = principal
        self.remote = remote
        self.flows = request.flows
        self.isFeed = request.isFeed
        self.wantsPresence = request.wantsPresence
        self.epoch = epoch
        self.shard = shard
        self.output = output
        self.encoder = StreamEncoder(request)
        self.sharedForm = self.encoder.sharedForm
        self.opening = Opening(request, epoch: epoch)
    }

    var isWritable: Bool { self.output?.isWritable ?? false }
    var isOpen: Bool { self.state == .open }
    var isOpening: Bool { self.state == .opening }

    // MARK: Opening

    /// The stream is opening, and this number of its fan-outs are not open.
    func awaits(_ flows: Int) { self.opening?.awaitedFlows = flows }

    /// Continues opening the stream after the fan-out of one of its flows has become open.
    func flowOpened() {
        guard self.state == .opening, let opening = self.opening else { return }
        opening.awaitedFlows -= 1
        if opening.awaitedFlows <= 0 { self.shard.proceed(with: self) }
    }

    /// Counts a tick of the shard, one per second, while the stream is opening.
    /// - Returns: the number of ticks up to now.
    func countOpeningTick() -> Int {
        self.opening?.ticks += 1
        return self.opening?.ticks ?? 0
    }

    /// The flows that an opening stream of the feed shows.
    var filter: FlowFilter { self.opening?.request.filter ?? .all }

    /// Sends the response head, joins the fan-outs and starts the readers.
    func start(fanouts: [FlowFanout]) {
        guard self.state == .opening, let output = self.output, let startPoints = self.opening?.plan.startPoints else { return }
        self.state = .open
        self.opening = nil
        output.startResponse()
        output.write(self.encoder.opening(retryMilliseconds: self.shard.jitteredRetry()))
        self.subscriptions.reserveCapacity(fanouts.count)
        for (index, fanout) in fanouts.enumerated() {
            let subscription = Subscription(stream: self, fanout: fanout, index: index, startPoint: startPoints[index])
            self.subscriptions.append(subscription)
            fanout.join(subscription)
            self.queue.append(subscription)
            if subscription.reader.pendingResync != nil { self.count(subscription.reader.pendingResync?.reason) }
        }
        self.remainingFlows = fanouts.count
        self.advanceReaders()
    }

    // MARK: Writing

    /// Writes and flushes, then updates the stream's queued bytes (``countQueue()``).
    func send(_ block: StreamBlock) {
        self.output?.send(block)
        self.countQueue()
    }

    /// Sends events, each with its own line `id:`, if it has one.
    func send(_ events: [EncodedEvent]) {
        var builder = StreamBlock.Builder(capacity: events.reduce(0) { $0 + $1.block.size })
        for event in events { self.encoder.append(event, to: &builder) }
        self.send(builder.finish())
    }

    /// Sends `presence` if the socket is writable. Otherwise drops the event: it is not worth queuing behind bytes that the client
    /// has not read.
    func sendPresence(_ event: EncodedEvent) {
        guard self.state == .open, self.isWritable else { return }
        self.send(self.encoder.block(of: event))
    }

    /// Sends `heartbeat` if the socket is writable, with the stream's cursor if the client's is behind.
    func sendHeartbeat(_ event: EncodedEvent) {
        guard self.state == .open, self.isWritable else { return }
        guard self.hasUnsentPosition || self.encoder.padding > 0 else { return self.send(self.encoder.block(of: event)) }
        var builder = StreamBlock.Builder(capacity: self.encoder.padding + 256)
        let cursor = self.takeUnsentPositions(into: &builder)
        builder.append(eventCount: 0) { self.encoder.writePadding(to: &$0) }
        self.encoder.append(event, cursor: cursor, to: &builder)
        self.send(builder.finish())
    }

    /// Writes without flushing.
    func write(_ block: StreamBlock) {
        self.output?.write(block)
    }

    /// Flushes, then updates the stream's queued bytes (``countQueue()``).
    func flush() {
        self.output?.flush()
        self.countQueue()
    }

    /// Called when the socket has become writable or has ceased to be. If it is writable, continues to read history.
    func writabilityChanged() {
        // The socket ceases to be writable only during a write by this stream: NIO calls this function from within that write.
        // After the write the stream calls ``countQueue()``, so there is nothing to do here.
        guard self.isWritable else { return }
        self.measureQueue()
        self.advanceReaders()
    }

    /// Called after a write: runs ``measureQueue()`` if the socket is not writable. While the socket is writable, only the
    /// shard's tick runs it, once a second, because running it after every write would cost too much.
    private func countQueue() {
        if let output = self.output, !output.isWritable { self.measureQueue() }
    }

    /// Updates the queued bytes of this stream in the budget, and sheds streams if the total exceeds its limit.
    func measureQueue() {
        guard let output = self.output else { return }
        let queued = output.queuedBytes
        guard queued != self.countedQueue else { return }
        self.shard.queued(queued, by: self, changedBy: queued - self.countedQueue)
        self.countedQueue = queued
        if queued > 0, self.shard.isOverQueueBudget { self.shard.shedLoad() }
    }

    // MARK: Ending

    /// Ends one flow of the stream with `closing`. Closes the stream if no other flow is left.
    func end(_ subscription: Subscription, _ reason: ClosingReason) {
        guard self.state != .closed, !subscription.reader.hasEnded else { return }
        if self.remainingFlows == 1 {
            self.close(reason)
            return
        }
        self.remainingFlows -= 1
        let closing = self.closing(reason, of: subscription)
        subscription.reader.end()
        self.queue.loadEnded(of: subscription)
        subscription.fanout.leave(subscription)
        self.send(closing)
    }

    /// Closes the stream. Sends `closing` first if the socket is writable.
    /// - Parameters:
    ///   - reconnect: the member `reconnect` of `closing`; `nil` for the default of the reason.
    ///   - retryMilliseconds: an SSE `retry:` to send; `nil` sends none, and the client keeps the value that it has.
    func close(_ reason: ClosingReason, reconnect: Bool? = nil, retryMilliseconds: Int? = nil) {
        guard self.state != .closed else { return }
        let output = self.output
        if self.state == .opening { output?.startResponse() }
        if self.isWritable {
            output?.write(self.closing(reason, reconnect: reconnect, retryMilliseconds: retryMilliseconds))
        }
        self.shard.counters.closed(reason)
        self.tearDown(.closed(reason))
        output?.finish()
    }

    /// Answers the request with an ordinary response instead of a stream. Does nothing unless the stream is opening.
    func reject(_ rejection: StreamRejection) {
        guard self.state == .opening else { return }
        let output = self.output
        self.tearDown(.noContent)
        output?.reject(rejection)
    }

    /// Closes the stream without `closing`, because the limit of queued bytes is exceeded and this stream has the most.
    func shed() {
        guard self.state != .closed else { return }
        self.shard.counters.closed(.full)
        let output = self.output
        self.tearDown(.closed(.full))
        output?.abort()
    }

    /// Ends the stream after its connection was closed.
    func disconnected() { self.tearDown(.disconnected) }

    /// Enters the state `closed`: ends the subscriptions, subtracts the stream's queued bytes from the budget and removes the
    /// stream from its shard. Does nothing if the stream is closed.
    private func tearDown(_ ending: StreamEnding) {
        guard self.state != .closed else { return }
        self.state = .closed
        self.output?.ended(ending)
        self.output = nil
        self.opening = nil
        if self.countedQueue > 0 { self.shard.queued(0, by: self, changedBy: -self.countedQueue) }
        self.countedQueue = 0
        for subscription in self.subscriptions {
            subscription.reader.end()
            subscription.fanout.leave(subscription)
        }
        self.shard.closed(self)
        self.subscriptions = []
        self.queue = SubscriptionQueue()
        self.feedReader = nil
    }

    /// Counts a `resync` by its reason. Does nothing for `nil`.
    func count(_ reason: ResyncReason?) {
        if let reason { self.shard.counters.resynced(reason) }
    }

    /// Adopts a new epoch. If the stream is opening, derives its resume plan again from the client's cursor.
    func adopt(_ epoch: Epoch) {
        self.epoch = epoch
        if let opening = self.opening {
            opening.replan(epoch)
        } else {
            for subscription in self.subscriptions {
                self.count(.epoch)
                // An ended subscription has left its fan-out, so its reader is reset here. The fan-outs reset the other
                // readers.
                if subscription.reader.hasEnded { subscription.reader.reset(.epoch) }
            }
        }
    }

    // MARK: For the shard

    /// The versions in the client's cursor, one for each flow; `nil` unless the resume plan starts every flow after a version
    /// of the cursor.
    var claimedVersions: [Version]? {
        guard let opening = self.opening else { return nil }
        let versions = opening.plan.startPoints.compactMap { startPoint -> Version? in
            if case .after(let version) = startPoint { version } else { nil }
        }
        return versions.count == self.flows.count && !versions.isEmpty ? versions : nil
    }

    /// The entries of the stream in the connection registry, one for each flow.
    var registryEntries: [ConnectionEntry] {
        self.flows.map { flow in
            ConnectionEntry(
                connection: ConnectionID(instance: self.shard.services.instance, number: self.number), flow: flow,
                account: self.principal.account, subject: self.principal.subject, remote: self.remote,
                registeredAt: self.registeredAt)
        }
    }

    /// Whether the stream is in the connection registry. A stream that is closed instead of opened never is.
    var isRegistered = false
    /// When the stream was registered in the connection registry.
    private(set) lazy var registeredAt: Timestamp = self.shard.now()
}
