import FlowCore
import NIOCore

/// One client's event stream: its subscriptions, its cursor, and the words that the hub says to it alone.
///
/// Confined to its event loop. It knows nothing of HTTP versions: bytes leave through a ``StreamOutput``.
final class EventStream {
    enum State {
        /// Waits for its flows to be opened; the response has not begun.
        case opening
        case open
        case closed
    }

    let number: UInt64
    let principal: Principal
    let remote: String
    let request: StreamRequest
    let shard: StreamShard
    private(set) var state = State.opening

    private var output: (any StreamOutput)?
    private(set) var subscriptions: [Subscription] = []
    /// Whether it takes a flow's frames as they are: one flow, no filter.
    let isPlain: Bool
    let hash: FlowSetHash?
    private(set) var epoch: Epoch
    private var isAdvancing = false
    /// Bytes that wait for the peer, as far as they were counted.
    private(set) var countedQueue = 0
    /// Whose turn it is to read history.
    private var turn = 0
    private var plan: ResumePlan

    /// What the feed's stream has instead of subscriptions.
    var feedReader: FeedReader?
    /// Its places in the shard's lists, kept by the shard.
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

    // MARK: Beginning

    /// A flow that this stream waited for was opened.
    func flowOpened() {
        guard self.state == .opening else { return }
        self.shard.proceed(with: self)
    }

    /// The head of the response goes out, and the readers begin.
    func start(fanouts: [FlowFanout], extraHeaders: [(name: String, value: String)]) {
        guard self.state == .opening, let output = self.output else { return }
        self.state = .open
        output.startResponse(extraHeaders: extraHeaders)
        var opening = ByteBuffer()
        opening.writeRetry(milliseconds: self.shard.jitteredRetry())
        // An id without data moves the cursor and fires nothing. It must not stand before a snapshot that is due: a client
        // that is cut off in between would take its place for kept.
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

    /// Lets the readers go on, in turns, as far as the socket takes it.
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

    /// The state, with its place in the cursor; before it, the reason if the client lost its own.
    func sendSnapshot(_ record: FlowRecord, for subscription: Subscription) {
        // A late answer to what was asked before a reset is not sent.
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

    /// A page of history: the events above the cursor, or a notice that it cannot be used.
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
            // A page is as much as may wait for the peer at one time.
            self.flush()
        }
    }

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
        // The write may have ended the stream.
        guard self.state == .open, !subscription.reader.hasEnded else { return }
        subscription.lastTransient = fanout.newestTransientNumber
        fanout.addLive(subscription)
        if fanout.lingerHasExpired { self.end(subscription, fanout.closingReason) }
    }

    // MARK: Writing

    /// Writes and flushes at once.
    func send(_ buffer: ByteBuffer) {
        self.output?.send(buffer)
        self.countQueue()
    }

    /// A block of the hub's own, if the client takes it now; it is not worth a queue.
    func sendIfWritable(_ block: ByteBuffer) {
        guard self.state == .open, self.isWritable else { return }
        self.send(block)
    }

    private func write(_ buffer: ByteBuffer) {
        self.output?.write(buffer)
    }

    private func flush() {
        self.output?.flush()
        self.countQueue()
    }

    /// The socket takes more, or no more.
    func writabilityChanged() {
        // No more: a write is under way, and what it leaves behind is counted when it is done.
        guard self.isWritable else { return }
        self.measureQueue()
        self.advanceReaders()
    }

    /// Keeps the sum of what waits for slow peers; after every write, so a socket that takes more is not asked. What it may hold
    /// all the same is found by ``measureQueue()`` once a second.
    private func countQueue() {
        if let output = self.output, !output.isWritable { self.measureQueue() }
    }

    func measureQueue() {
        guard let output = self.output else { return }
        let queued = output.queuedBytes
        guard queued != self.countedQueue else { return }
        self.shard.queued(queued, changedBy: queued - self.countedQueue)
        self.countedQueue = queued
        if queued > 0, self.shard.isOverQueueBudget { self.shard.shedLoad() }
    }

    // MARK: Ending

    /// Ends one flow of the stream, and the stream with the last of them.
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

    /// The last word, then the end. A peer that is not reading does not get the word.
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

    /// Answers with something that is final, before the stream began.
    func reject(_ rejection: StreamRejection) {
        guard self.state == .opening else { return }
        let output = self.output
        self.tearDown()
        output?.reject(rejection)
    }

    /// The memory for slow peers is used up: this one costs too much to keep.
    func shed() {
        guard self.state == .open else { return }
        self.shard.counters.closed(.full)
        let output = self.output
        self.tearDown()
        output?.abort()
    }

    /// The connection is gone.
    func disconnected() { self.tearDown() }

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

    private func count(_ reason: ResyncReason?) {
        if let reason { self.shard.counters.resynced(reason) }
    }

    /// The store's history is another one.
    func adopt(_ epoch: Epoch) {
        self.epoch = epoch
        if self.state == .opening {
            self.plan = ResumePlan(
                cursor: self.request.cursor, flows: self.request.flows, epoch: epoch, wantsSnapshot: self.request.wantsSnapshot)
        } else {
            for subscription in self.subscriptions {
                self.count(.epoch)
                // One that ended has left its fanout, which resets the others.
                if subscription.reader.hasEnded { subscription.reader.reset(.epoch) }
            }
        }
    }

    // MARK: For the shard

    /// The versions that the client says it has, if it says so for every flow.
    var claimedVersions: [Version]? {
        let versions = self.plan.startPoints.compactMap { startPoint -> Version? in
            if case .after(let version) = startPoint { version } else { nil }
        }
        return versions.count == self.request.flows.count && !versions.isEmpty ? versions : nil
    }

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
