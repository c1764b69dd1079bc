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
    let outletNumber: Int
    var counters = StreamCounters()

    private(set) var channels: [FlowID: FlowFanout] = [:]
    private(set) var streamCount = 0
    var lingering = Set<FlowID>()
    private var empty = Set<FlowID>()
    private var openings: [ObjectIdentifier: EventStream] = [:]
    private var beat: HeartbeatWheel
    private var feeds: [ObjectIdentifier: EventStream] = [:]

    private var due: [FlowFanout] = []
    private var isPumping = false
    private var deferrals = 0
    /// Ordinary requests that were read and wait for their turn on this loop.
    var backlog = 0

    private lazy var queue = self.services.queues.open { [loop = self.loop, shard = NIOLoopBound(self, eventLoop: self.loop)] in
        loop.execute { shard.value.relieve() }
    }

    private var registryChanges: [RegistryChange] = []
    private var delivery: DeliveryStatus
    private var isDraining = false

    init(loop: any EventLoop, services: StreamServices, outletNumber: Int) {
        self.loop = loop
        self.services = services
        self.outletNumber = outletNumber
        self.beat = HeartbeatWheel(slots: services.configuration.heartbeatSeconds)
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
        if self.isOverspent {
            self.services.refused(.full)
            stream.close(.full, retryMilliseconds: self.jitteredRetry())
            return
        }
        self.openings[ObjectIdentifier(stream)] = stream
        self.proceed(with: stream)
    }

    /// Goes on with a stream that waits for its flows.
    func proceed(with stream: EventStream) {
        guard stream.state == .opening else { return }
        if stream.isFeed {
            self.beginFeed(stream)
            return
        }
        var isReady = true
        var channels: [FlowFanout] = []
        for flow in stream.request.flows {
            let channel = self.channel(of: flow)
            channels.append(channel)
            if !channel.isOpen {
                isReady = false
                channel.openWaiters[ObjectIdentifier(stream)] = stream
            }
        }
        guard isReady else { return }
        for channel in channels {
            if let account = channel.account, account != stream.principal.account {
                stream.decline(.problem(.otherAccount))
                return
            }
        }
        if let claimed = stream.claimedVersions, channels.allSatisfy({ $0.head?.status.isTerminal == true }),
            zip(channels, claimed).allSatisfy({ $0.version == $1 })
        {
            self.confirmEnd(of: stream, claimed: claimed)
            return
        }
        self.begin(stream, channels: channels)
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
                stream.decline(.noContent)
            } else {
                // Opened again, and this loop is about to hear of it. The client comes back to it in a moment.
                _ = self.services.table.surveyed(flows, heads: heads, delivered: [:])
                stream.close(.unavailable, retryMilliseconds: self.jitteredRetry())
            }
        }
    }

    private func begin(_ stream: EventStream, channels: [FlowFanout]) {
        self.openings[ObjectIdentifier(stream)] = nil
        self.beat.insert(stream)
        self.change(.register(stream.registryEntries))
        self.services.logger.debug(
            "A stream began", metadata: ["connection": "\(stream.number)", "flows": "\(stream.request.flows.count)"])
        stream.begin(channels: channels, extraHeaders: stream.request.responseHeaders)
    }

    private func beginFeed(_ stream: EventStream) {
        self.openings[ObjectIdentifier(stream)] = nil
        self.beat.insert(stream)
        self.feeds[ObjectIdentifier(stream)] = stream
        let reader = FeedReader(stream, shard: self)
        stream.feedReader = reader
        stream.begin(channels: [], extraHeaders: stream.request.responseHeaders)
        reader.begin()
    }

    /// The stream ended, for whatever reason.
    func closed(_ stream: EventStream) {
        self.streamCount -= 1
        self.services.logger.debug("A stream ended", metadata: ["connection": "\(stream.number)"])
        self.services.leave(stream.principal)
        if self.openings.removeValue(forKey: ObjectIdentifier(stream)) != nil {
            for flow in stream.request.flows { self.channels[flow]?.openWaiters[ObjectIdentifier(stream)] = nil }
            return
        }
        self.beat.remove(stream)
        if self.feeds.removeValue(forKey: ObjectIdentifier(stream)) != nil {
            if stream.feedReader?.hasJoined == true { self.services.feedChanged(.left(account: stream.principal.account)) }
        } else if !stream.request.flows.isEmpty {
            self.change(.unregister(stream.registryEntries))
        }
    }

    /// Ends the stream of this number, if it is here.
    func disconnect(_ number: UInt64) {
        self.forEachStream { if $0.number == number { $0.close(.revoked, reconnect: true) } }
    }

    // MARK: Flows

    private func channel(of flow: FlowID) -> FlowFanout {
        if let channel = self.channels[flow] { return channel }
        let channel = FlowFanout(flow: flow, epoch: self.services.manager.epoch, shard: self)
        self.channels[flow] = channel
        self.empty.insert(flow)
        self.services.table.watch(flow, outlet: self.outletNumber)
        return channel
    }

    func occupied(_ channel: FlowFanout) { self.empty.remove(channel.flow) }
    /// It stays for a moment: a reader that reconnects finds its history in memory.
    func emptied(_ channel: FlowFanout) { self.empty.insert(channel.flow) }

    private func dropEmptyChannels() {
        for flow in self.empty {
            guard let channel = self.channels[flow] else { continue }
            guard channel.subscriberCount == 0, channel.openWaiters.isEmpty else { continue }
            self.channels[flow] = nil
            self.lingering.remove(flow)
            self.services.table.unwatch(flow, outlet: self.outletNumber)
        }
        self.empty = self.empty.filter { self.channels[$0] != nil }
    }

    // MARK: Deliveries

    func take(_ deliveries: [Delivery]) {
        for delivery in deliveries {
            switch delivery {
            case .opened(let flow, let record, let head, let epoch, let last):
                self.channels[flow]?.opened(record, head: head, epoch: epoch, last: last)
            case .events(let flow, let frames, let head):
                self.channels[flow]?.received(frames, head: head)
            case .transient(let flow, let account, let event, let frame):
                self.channels[flow]?.received(event, frame, account: account)
            case .reset(let epoch):
                self.forEachStream { $0.adopt(epoch) }
                for stream in self.openings.values { stream.adopt(epoch) }
                for channel in self.channels.values { channel.reset(to: epoch) }
            case .status(let status):
                self.delivery = status
                let block = self.heartbeat()
                self.forEachStream { $0.offer(block) }
            case .revoked(let list):
                self.forEachStream { if list.isRevoked($0.principal) { $0.close(.revoked) } }
                for stream in Array(self.openings.values) where list.isRevoked(stream.principal) { stream.close(.revoked) }
            }
        }
    }

    /// Tells the feeds of an account what changed.
    func feed(_ heads: [FlowHead], account: String) {
        for stream in Array(self.feeds.values) where stream.principal.account == account { stream.feedReader?.changed(heads) }
    }

    func enqueue(_ channel: FlowFanout) {
        if !channel.isDue {
            channel.isDue = true
            self.due.append(channel)
        }
        self.pumpSoon()
    }

    private func pumpSoon() {
        guard !self.isPumping else { return }
        self.isPumping = true
        self.deferrals = 0
        self.loop.assumeIsolated().execute { self.pump() }
    }

    /// A slice of the pass. Requests that were read already go first, so that what they publish shares the writes.
    private func pump() {
        if self.backlog > 0, self.deferrals < Self.maximumDeferrals {
            self.deferrals += 1
            self.loop.assumeIsolated().execute { self.pump() }
            return
        }
        self.deferrals = 0
        var budget = Self.writesPerSlice
        while budget > 0, let channel = self.due.first {
            budget = channel.deliver(budget: budget)
            self.due.removeFirst()
            if channel.seatsDue > 0 {
                self.due.append(channel)
            } else {
                channel.isDue = false
            }
        }
        if self.due.isEmpty {
            self.isPumping = false
        } else {
            // A timer rather than another task: between tasks the loop does not look at its sockets.
            self.loop.assumeIsolated().scheduleTask(in: .microseconds(20)) { self.pump() }
        }
    }

    // MARK: Queues

    /// Whether readers may be fed from history: what waits for slow peers is within its limit.
    var maySpend: Bool { self.services.queues.bytes < self.services.configuration.maximumQueuedBytes }
    var isOverspent: Bool { !self.maySpend }

    /// A stream holds so much now.
    func queued(_ bytes: Int, changedBy difference: Int) {
        self.services.queues.changed(by: difference)
        self.queue.note(bytes)
    }

    /// The memory for slow peers is used up: those that hold most of it go, until it is not, on whichever loop they are.
    func relieve() {
        self.queue.asked()
        while self.isOverspent {
            let holder = self.beat.all.max { $0.countedQueue < $1.countedQueue }
            let bytes = holder?.countedQueue ?? 0
            self.queue.set(bytes)
            if let other = self.services.queues.larger(than: bytes) { return other.ask() }
            guard let holder, bytes > 0 else { return }
            holder.abandon()
        }
    }

    // MARK: Time

    /// Once a second.
    func tick() {
        let block = self.heartbeat()
        for stream in self.beat.advance() { stream.offer(block) }
        let seconds = self.now().seconds
        self.forEachStream { stream in
            if let end = stream.principal.endsAt(leeway: self.services.leewaySeconds), end <= seconds {
                stream.close(.expired)
                return
            }
            stream.measureQueue()
            if !self.isOverspent, stream.isOpen, stream.isWritable {
                stream.feed()
            }
        }
        if self.isOverspent { self.relieve() }
        for stream in Array(self.openings.values) {
            stream.ticksOpening += 1
            if stream.ticksOpening > self.services.configuration.openSeconds {
                stream.close(.unavailable, retryMilliseconds: self.jitteredRetry())
            }
        }
        for flow in self.lingering {
            guard let channel = self.channels[flow], channel.isOver else { continue }
            // Who has not been given the last event yet gets it first, and ends with the next tick.
            channel.forEachSubscription { subscription in
                guard subscription.reader.isLive, subscription.reader.cursor >= channel.version else { return }
                subscription.stream.end(subscription, channel.closingReason)
            }
        }
        self.tellPresence()
        self.dropEmptyChannels()
    }

    private func heartbeat() -> ByteBuffer {
        var block = ByteBuffer()
        block.writeHeartbeat(at: self.now(), delivery: self.delivery)
        return block
    }

    private func tellPresence() {
        for channel in self.channels.values where channel.presenceCount > 0 && channel.isOpen {
            // The registry is told in batches: who has just come is counted here before there.
            let count = max(self.services.registry.count(of: channel.flow), channel.subscriberCount)
            guard count != channel.toldPresence else { continue }
            channel.toldPresence = count
            var block = ByteBuffer()
            block.writePresence(channel.flow, count: count)
            channel.forEachSubscription { if $0.stream.wantsPresence { $0.stream.offer(block) } }
        }
    }

    // MARK: Draining

    /// Closes every stream at a moment of its own within the window, so that those who come back do not come together.
    func drain(over window: TimeAmount) {
        guard !self.isDraining else { return }
        self.isDraining = true
        for stream in Array(self.openings.values) { stream.close(.drain, retryMilliseconds: self.jitteredRetry()) }
        let streams = self.beat.all.shuffled()
        for (index, stream) in streams.enumerated() {
            let delay = window.nanoseconds * Int64(index) / Int64(max(1, streams.count))
            self.loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) {
                stream.close(.drain, retryMilliseconds: self.jitteredRetry())
            }
        }
    }

    // MARK: Private

    func forEachStream(_ body: (EventStream) -> Void) {
        for stream in self.beat.all where stream.isOpen { body(stream) }
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
