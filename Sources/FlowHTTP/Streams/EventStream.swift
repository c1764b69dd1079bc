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
    let remote: String
    let request: StreamRequest
    let shard: StreamShard
    private(set) var state = State.opening

    private var output: (any StreamOutput)?
    private(set) var subscriptions: [Subscription] = []
    /// Whether the stream can send a flow's shared frames unchanged: one flow, no type filter.
    let isPlain: Bool
    /// Hash of the flow ids, which the cursor of a stream with several flows contains; `nil` for one flow or none.
    let hash: FlowSetHash?
    /// The epoch in the stream's cursor.
    private(set) var epoch: Epoch
    /// Whether ``advanceReaders()`` is running. Its steps may call it again, which then has no effect.
    private var isAdvancing = false
    /// The stream's queued bytes that ``QueuedBytesBudget`` includes.
    private(set) var countedQueue = 0
    /// Counter of the round-robin over the subscriptions: its remainder is the index of the next one.
    private var turn = 0
    /// Where each flow of the stream starts, derived from the client's cursor.
    private var plan: ResumePlan

    /// The feed of a stream of `/v1/feed`, which has no subscriptions.
    var feedReader: FeedReader?
    /// The stream's indices in the shard's ``HeartbeatWheel``, which sets them, and the seconds that it has been opening.
    var wheelSlot = -1
    var wheelIndex = -1
    var ticksOpening = 0

    init(
        number: UInt64, principal: Principal, remote: String, request: StreamRequest, epoch: Epoch, shard: StreamShard,
        output: any StreamOutput
    ) {
        self.number = number
        self.principal = principal
        self.remote = remote
        self.request = request
        self.epoch = epoch
        self.shard = shard
        self.output = output
        self.hash = request.flows.count > 1 ? FlowSetHash(of: request.flows) : nil
        self.isPlain = request.flows.count == 1 && request.types == nil
        self.plan = ResumePlan(
            cursor: request.cursor, flows: request.flows, epoch: epoch, wantsSnapshot: request.wantsSnapshot)
    }

    var wantsPresence: Bool { self.request.wantsPresence }
    var isFeed: Bool { self.request.isFeed }
    var isWritable: Bool { self.output?.isWritable ?? false }
    var isOpen: Bool { self.state == .open }
    var isOpening: Bool { self.state == .opening }

    // MARK: Opening

    /// Continues opening the stream after the fan-out of one of its flows has become open.
    func flowOpened() {
        guard self.state == .opening else { return }
        self.shard.proceed(with: self)
    }

    /// Sends the response head, joins the fan-outs and starts the readers.
    func start(fanouts: [FlowFanout], extraHeaders: [(name: String, value: String)]) {
        guard self.state == .opening, let output = self.output else { return }
        self.state = .open
        output.startResponse(extraHeaders: extraHeaders)
        var opening = ByteBuffer()
        opening.writeRetry(milliseconds: self.shard.jitteredRetry())
        // An `id:` without data moves the client's cursor and dispatches no event. It is sent only if no snapshot is due:
        // a client that lost the connection between the two would resume from this `id:` and never receive the snapshot.
        var primes = self.plan.resumesEveryFlow
        #if DEBUG
        if InjectedFault.primeBeforeSnapshot.isActive { primes = true }
        #endif
        for (index, fanout) in fanouts.enumerated() {
            let subscription = Subscription(
                stream: self, fanout: fanout, index: index, startPoint: self.plan.startPoints[index])
            self.subscriptions.append(subscription)
            fanout.join(subscription)
            if subscription.reader.pendingResync != nil { self.count(subscription.reader.pendingResync?.reason) }
        }
        if primes, !fanouts.isEmpty {
            #if DEBUG
            if InjectedFault.primeBeforeSnapshot.isActive, self.hash == nil, let fanout = fanouts.first {
                opening.writeIDLine(epoch: self.epoch, version: fanout.version)
            } else {
                self.writeID(into: &opening)
            }
            #else
            self.writeID(into: &opening)
            #endif
            opening.writeStaticString("\n")
        }
        output.write(opening)
        self.advanceReaders()
    }

    // MARK: Reading history

    /// Advances the readers round-robin while the socket is writable, then flushes.
    func advanceReaders() {
        guard self.state == .open, !self.isAdvancing else { return }
        self.isAdvancing = true
        var idle = 0
        while idle < self.subscriptions.count, self.state == .open {
            let subscription = self.subscriptions[self.turn % self.subscriptions.count]
            self.turn += 1
            switch subscription.reader.next(
                head: subscription.fanout.version, isWritable: self.mayReadHistory && subscription.fanout.isOpen)
            {
            case .loadSnapshot:
                subscription.fanout.requestSnapshot(for: subscription)
                idle = 0
            case .loadPage(let after):
                subscription.fanout.requestPage(after: after, for: subscription)
                idle = 0
            case .goLive(let sendsCaughtUp):
                self.goLive(subscription, sendsCaughtUp: sendsCaughtUp)
                idle = 0
            case .wait:
                idle += 1
            }
        }
        self.isAdvancing = false
        self.feedReader?.resume()
        self.flush()
    }

    private var mayReadHistory: Bool { self.isWritable && self.shard.hasQueueBudget }

    /// Sends the state with its position as `id:`, preceded by `resync` if the client's position was invalid. Ends the
    /// subscription instead if the flow belongs to another account.
    func sendSnapshot(_ record: FlowRecord, for subscription: Subscription) {
        // The result of a load that was started before the reader was reset is dropped.
        guard self.state == .open, subscription.reader.awaitsSnapshot else { return }
        let fanout = subscription.fanout
        let owner = record.version > 0 ? record.head.account : fanout.account
        if let owner, owner != self.principal.account {
            self.end(subscription, .revoked)
            return
        }
        fanout.noteShown(record.version)
        let notice = subscription.reader.snapshotLoaded(version: record.version)
        var buffer = ByteBuffer()
        if let notice {
            buffer.writeResync(fanout.flow, reason: notice.reason, from: notice.from, to: record.version)
        }
        subscription.lastTransient = fanout.newestTransientNumber
        self.writeID(into: &buffer)
        buffer.writeImmutableBuffer(fanout.snapshotBlock(of: record))
        self.write(buffer)
    }

    /// Sends the events of a history page that are above the cursor. If the page shows that the position is invalid, sends
    /// nothing; a snapshot with `resync` follows.
    /// - Parameters:
    ///   - coalesced: all frames in one buffer; `nil` if there are none.
    ///   - storeHead: the flow's version as of the same read of the store; `nil` for a page of recent frames.
    func sendPage(_ frames: [Frame], coalesced: CoalescedFrames?, storeHead: Version?, for subscription: Subscription) {
        guard self.state == .open else { return }
        let versions = frames.first.flatMap { first in frames.last.map { first.version...$0.version } }
        switch subscription.reader.pageLoaded(versions: versions, storeHead: storeHead) {
        case .ignore: break
        case .resync(let reason): self.count(reason)
        case .send(let from):
            subscription.fanout.noteShown(subscription.reader.cursor)
            if self.isPlain, from == 0, let coalesced {
                self.shard.counters.deliveries += frames.count
                self.write(coalesced.buffer)
            } else {
                var batch = EncodedBatch()
                for frame in frames.dropFirst(from) {
                    self.encode(frame, for: subscription, into: &batch)
                    self.shard.counters.deliveries += 1
                }
                let buffer = self.finish(batch, for: subscription)
                if buffer.readableBytes > 0 { self.write(buffer) }
            }
            // Flushes each page, so that at most the size of one page is queued for a client at a time.
            self.flush()
        }
    }

    /// Gives a subscription a live slot after its reader has reached the head. Sends `caught_up` and the latest transients
    /// first, if due.
    private func goLive(_ subscription: Subscription, sendsCaughtUp: Bool) {
        let fanout = subscription.fanout
        if sendsCaughtUp {
            var buffer = ByteBuffer()
            buffer.writeCaughtUp(fanout.flow, version: subscription.reader.cursor)
            var latest = EncodedBatch()
            for transient in fanout.transients.entries where transient.attachment.number > subscription.lastTransient {
                self.encode(transient.attachment.frame, for: subscription, into: &latest)
            }
            buffer.writeImmutableBuffer(latest.buffer)
            self.write(buffer)
        }
        #if DEBUG
        if InjectedFault.replayOverlaps.isActive,
            let repeated = fanout.recent.page(after: subscription.reader.cursor - 1, maximumBytes: 1)?.first
        {
            self.write(repeated.bytes)
        }
        #endif
        // The write may have closed the stream.
        guard self.state == .open, !subscription.reader.hasEnded else { return }
        subscription.lastTransient = fanout.newestTransientNumber
        fanout.addLive(subscription)
        if fanout.lingerHasExpired { self.end(subscription, fanout.closingReason) }
    }

    // MARK: Writing

    /// Writes and flushes.
    func send(_ buffer: ByteBuffer) {
        self.output?.send(buffer)
        self.countQueue()
    }

    /// Sends a control event if the socket is writable, else drops it: it is not worth queuing.
    func sendIfWritable(_ block: ByteBuffer) {
        guard self.state == .open, self.isWritable else { return }
        self.send(block)
    }

    /// Writes without flushing.
    private func write(_ buffer: ByteBuffer) {
        self.output?.write(buffer)
    }

    /// Flushes, then updates the queued bytes.
    private func flush() {
        self.output?.flush()
        self.countQueue()
    }

    /// Handles a change of the socket's writability.
    func writabilityChanged() {
        // Not writable: a write is in progress, and its caller counts the queued bytes afterwards.
        guard self.isWritable else { return }
        self.measureQueue()
        self.advanceReaders()
    }

    /// Updates the queued bytes after a write if the socket is not writable. While the socket is writable,
    /// ``measureQueue()`` runs only once a second, to save its cost on every write.
    private func countQueue() {
        if let output = self.output, !output.isWritable { self.measureQueue() }
    }

    /// Updates the queued bytes of this stream in the budget, and sheds streams if the total exceeds its limit.
    func measureQueue() {
        guard let output = self.output else { return }
        let queued = output.queuedBytes
        guard queued != self.countedQueue else { return }
        self.shard.queued(queued, changedBy: queued - self.countedQueue)
        self.countedQueue = queued
        if queued > 0, self.shard.isOverQueueBudget { self.shard.shedLoad() }
    }

    // MARK: Ending

    /// Ends one flow of the stream with `closing`. Closes the stream if no other flow is left.
    func end(_ subscription: Subscription, _ reason: ClosingReason) {
        guard self.state != .closed, !subscription.reader.hasEnded else { return }
        let isLast = self.subscriptions.allSatisfy { $0 === subscription || $0.reader.hasEnded }
        if isLast {
            self.close(reason)
            return
        }
        subscription.reader.end()
        subscription.fanout.leave(subscription)
        var buffer = ByteBuffer()
        buffer.writeClosing(reason, flow: subscription.fanout.flow)
        self.send(buffer)
    }

    /// Closes the stream. Sends `closing` first if the socket is writable.
    /// - Parameters:
    ///   - reconnect: the member `reconnect` of `closing`; `nil` for the default of the reason.
    ///   - retryMilliseconds: a new SSE `retry:` to send; `nil` keeps that of the client.
    func close(_ reason: ClosingReason, reconnect: Bool? = nil, retryMilliseconds: Int? = nil) {
        guard self.state != .closed else { return }
        let output = self.output
        if self.state == .opening { output?.startResponse(extraHeaders: self.request.responseHeaders) }
        if self.isWritable {
            var buffer = ByteBuffer()
            if let retryMilliseconds { buffer.writeRetry(milliseconds: retryMilliseconds) }
            buffer.writeClosing(reason, reconnect: reconnect)
            output?.write(buffer)
        }
        self.shard.counters.closed(reason)
        self.tearDown()
        output?.finish()
    }

    /// Answers with a final response instead of a stream. Does nothing after the stream has opened.
    func reject(_ rejection: StreamRejection) {
        guard self.state == .opening else { return }
        let output = self.output
        self.tearDown()
        output?.reject(rejection)
    }

    /// Closes the stream without `closing`, because the limit of queued bytes is exceeded and this stream has the most.
    func shed() {
        guard self.state == .open else { return }
        self.shard.counters.closed(.full)
        let output = self.output
        self.tearDown()
        output?.abort()
    }

    /// Ends the stream after its connection was closed.
    func disconnected() { self.tearDown() }

    /// Releases everything that belongs to the stream. Does nothing if it is closed.
    private func tearDown() {
        guard self.state != .closed else { return }
        self.state = .closed
        self.output = nil
        if self.countedQueue > 0 { self.shard.queued(0, changedBy: -self.countedQueue) }
        self.countedQueue = 0
        for subscription in self.subscriptions {
            subscription.reader.end()
            subscription.fanout.leave(subscription)
        }
        self.shard.closed(self)
        self.subscriptions = []
        self.feedReader = nil
    }

    /// Counts a `resync`.
    private func count(_ reason: ResyncReason?) {
        if let reason { self.shard.counters.resynced(reason) }
    }

    /// Adopts a new epoch. The plan of an opening stream is derived again from its cursor.
    func adopt(_ epoch: Epoch) {
        self.epoch = epoch
        if self.state == .opening {
            self.plan = ResumePlan(
                cursor: self.request.cursor, flows: self.request.flows, epoch: epoch, wantsSnapshot: self.request.wantsSnapshot)
        } else {
            for subscription in self.subscriptions {
                self.count(.epoch)
                // An ended subscription has left its fan-out; the fan-out resets the others.
                if subscription.reader.hasEnded { subscription.reader.reset(.epoch) }
            }
        }
    }

    // MARK: For the shard

    /// The versions in the client's cursor, one for each flow; `nil` unless the cursor has a usable version for every flow.
    var claimedVersions: [Version]? {
        let versions = self.plan.startPoints.compactMap { startPoint -> Version? in
            if case .after(let version) = startPoint { version } else { nil }
        }
        return versions.count == self.request.flows.count && !versions.isEmpty ? versions : nil
    }

    /// The entries of the stream in the connection registry, one for each flow.
    var registryEntries: [ConnectionEntry] {
        self.request.flows.map { flow in
            ConnectionEntry(
                connection: ConnectionID(instance: self.shard.services.instance, number: self.number), flow: flow,
                account: self.principal.account, subject: self.principal.subject, remote: self.remote,
                registeredAt: self.registeredAt)
        }
    }

    private(set) lazy var registeredAt: Timestamp = self.shard.now()
}
