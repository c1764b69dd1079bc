import FlowCore
import Logging
import NIOCore

/// A transient event that is kept as the latest of its type.
struct TransientFrame {
    let frame: Frame
    /// Of all transients that this loop was told of the flow.
    let number: UInt64
}

/// A flow on one event loop: its recent frames, its latest transients, and everybody here who is subscribed to it.
///
/// Confined to its event loop. ``FlowFanout+Pass.swift`` is the way of live events, ``FlowFanout+History.swift`` that of
/// the readers behind them.
final class FlowFanout {
    let flow: FlowID
    let shard: StreamShard

    private(set) var isOpen = false
    private(set) var epoch: Epoch
    /// The flow as of ``version``; `nil` while it does not exist.
    private(set) var head: FlowHead?
    /// The last version that was handed to live subscribers; readers go live here.
    private(set) var version: Version = 0
    /// The state, where it is known at ``version``.
    private var record: FlowRecord?
    private var isLoadingRecord = false
    private(set) var recent: RecentFrames

    /// The latest transient event of each type.
    private(set) var transients = LatestTransients<TransientFrame>()
    private var transientCount: UInt64 = 0

    // Everybody subscribed, whatever they are doing.
    private(set) var subscriberCount = 0
    var presenceCount = 0
    var lastSentPresence = -1
    /// Streams that wait for the flow to be opened.
    var openWaiters: [ObjectIdentifier: EventStream] = [:]

    // The live ones; see FlowFanout+Pass.swift.
    var liveSlots: [Subscription?] = []
    var freeSlots: [Int] = []
    var liveLog: [LiveLogEntry] = []
    var liveLogBase = 0
    var nextSlot = 0
    var slotsLeftInPass = 0
    var isInPass = false
    var coalesced: CoalescedFrames?
    /// Below this place the log holds events for one account only, from before the flow had an owner.
    var restrictedLogEnd = 0

    // Readers' loads under way; see FlowFanout+History.swift.
    var pageWaiters: [Version: [Subscription]] = [:]
    /// By the version that the snapshot must not be below.
    var snapshotWaiters: [Version: [Subscription]] = [:]
    var snapshot: (version: Version, transient: UInt64, block: ByteBuffer)?
    var page: CoalescedFrames?

    /// When the streams of an ended flow end.
    private(set) var lingersUntil: NIODeadline?

    init(flow: FlowID, epoch: Epoch, shard: StreamShard) {
        self.flow = flow
        self.epoch = epoch
        self.shard = shard
        self.recent = RecentFrames(base: 0)
    }

    var account: String? { self.head?.account }
    var liveLogEnd: Int { self.liveLogBase + self.liveLog.count }
    var newestTransientNumber: UInt64 { self.transientCount }

    // MARK: Deliveries

    /// The flow is followed from this record on.
    /// - Parameter head: above the record's where events were delivered while the record was read.
    func opened(_ record: FlowRecord?, head: FlowHead?, epoch: Epoch, last: [TransientEvent]) {
        // Read before the store's history became another one, and told after that: the flow will be opened again.
        guard epoch >= self.epoch else { return }
        if self.isOpen, self.epoch == epoch {
            // For another loop; here everything above this version was or will be delivered anyway.
            if let record, record.version == self.version { self.record = record }
            return
        }
        self.isOpen = true
        self.epoch = epoch
        self.version = head?.version ?? 0
        self.recent = RecentFrames(base: self.version)
        self.record = record?.version == self.version ? record : nil
        self.transients = .init()
        // They were read with the record. An end or a replacement that was delivered since makes them void.
        if (head?.resetVersion ?? 0) <= (record?.head.resetVersion ?? 0) {
            for event in last { self.insertTransient(event, Frame.transient(event, of: self.flow)) }
        }
        self.setHead(head)
        let waiters = self.openWaiters
        self.openWaiters = [:]
        for stream in waiters.values { stream.flowOpened() }
        self.forEachSubscription { $0.stream.advanceReaders() }
    }

    /// The next durable events. Those at or below ``version`` were delivered before.
    func received(_ frames: [Frame], head: FlowHead?) {
        guard self.isOpen else { return }
        // Whose flow it is must be known before anybody is given its first event.
        if self.head == nil, let head { self.setHead(head) }
        for frame in frames where frame.version > self.version {
            self.recent.append(frame)
            self.version = frame.version
            self.append(frame)
            self.shard.counters.observe(lagOf: frame, now: self.shard.now())
        }
        if frames.isEmpty, let head, head.version > self.version {
            // Pruned before anybody here heard of it: who is live reads history and is told.
            self.version = head.version
            self.recent = RecentFrames(base: self.version)
            self.forEachSubscription { if $0.reader.isLive { $0.fallBehind() } }
            self.forEachSubscription { $0.stream.advanceReaders() }
        }
        if let head, head.version == self.version {
            self.setHead(head)
        } else if self.head == nil || self.head?.status.isTerminal == true || head.map({ $0.version > self.version }) == true {
            // An event whose head is not known: what the flow is now, the store knows.
            self.requestRecord()
        }
        if let head {
            // What was in progress before an end, a replacement or a deletion says nothing any more.
            self.transients.removeAll(below: head.resetVersion)
        }
        if let record = self.record, record.version < self.version { self.record = nil }
    }

    func received(_ event: TransientEvent, _ frame: Frame, account: String) {
        guard self.isOpen else { return }
        if let owner = self.account {
            guard owner == account else { return }
            if !event.isForeign { self.insertTransient(event, frame) }
            self.append(frame)
        } else {
            self.append(frame, account: account)
        }
    }

    /// The store's history is another one: the flow is opened anew, and everybody is told.
    func reset(to epoch: Epoch) {
        self.isOpen = false
        self.epoch = epoch
        self.head = nil
        self.record = nil
        // Frames of the old history must not reach a reader of the new one.
        self.version = 0
        self.recent = RecentFrames(base: 0)
        self.page = nil
        self.restrictedLogEnd = 0
        self.transients = .init()
        self.lingersUntil = nil
        self.snapshot = nil
        self.forEachSubscription { $0.reset(.epoch) }
        self.clearLiveLog()
    }

    // MARK: State

    /// What a newcomer must be shown at least; above ``version`` where this loop lags behind another one.
    var minimumSnapshotVersion: Version {
        max(self.version, self.shard.services.table.highestShown(of: self.flow, epoch: self.epoch))
    }

    /// The flow with its state at `version` or above, if it is at hand.
    /// - Parameter version: not below ``version``.
    func currentRecord(atLeast version: Version) -> FlowRecord? {
        if let record = self.record, record.version == version { return record }
        if self.head == nil, version == 0, self.isOpen { return self.absentRecord }
        if let cached = self.shard.services.manager.cachedRecord(of: self.flow, atLeast: version) {
            if cached.version == self.version { self.record = cached }
            return cached
        }
        return nil
    }

    /// A subscriber is about to be shown this version.
    func noteShown(_ version: Version) {
        guard version > self.version else { return }
        self.shard.services.table.noteShown(self.flow, version, epoch: self.epoch)
    }

    /// What a flow is before it exists.
    var absentRecord: FlowRecord {
        FlowRecord(
            head: FlowHead(
                flow: self.flow, account: "", version: self.version, status: .active, resetVersion: 0,
                updatedAt: Timestamp(milliseconds: 0)),
            state: .emptyObject)
    }

    private func setHead(_ head: FlowHead?) {
        let owner = self.account
        self.head = head
        guard let head else { return }
        if owner == nil { self.endSubscriptions(notOf: head.account) }
        if head.status.isTerminal {
            let age = max(0, self.shard.now().milliseconds - head.updatedAt.milliseconds)
            let remaining = max(0, self.shard.services.configuration.lingerMilliseconds - age)
            self.lingersUntil = .now() + .milliseconds(remaining)
            self.shard.lingeringFlows.insert(self.flow)
        } else {
            self.lingersUntil = nil
            self.shard.lingeringFlows.remove(self.flow)
        }
    }

    /// Whether the flow has ended and its time for late events is over. An event behind the end whose head is not known yet may
    /// have begun it anew.
    var lingerHasExpired: Bool {
        guard let head = self.head, head.version >= self.version else { return false }
        return self.lingersUntil.map { $0 <= .now() } ?? false
    }

    var closingReason: ClosingReason { self.head?.isDeleted == true ? .deleted : .finished }

    /// A flow that did not exist belonged to nobody; now it does, and the others must not see it.
    private func endSubscriptions(notOf account: String) {
        self.forEachSubscription { subscription in
            if subscription.stream.principal.account != account {
                subscription.stream.end(subscription, .revoked)
            }
        }
    }

    private func insertTransient(_ event: TransientEvent, _ frame: Frame) {
        self.transientCount += 1
        self.transients.insert(
            event, at: self.version, TransientFrame(frame: frame, number: self.transientCount),
            limits: self.shard.services.configuration.transients)
    }

    /// Asks what the flow is now, until the answer is not older than what was delivered.
    private func requestRecord() {
        guard !self.isLoadingRecord else { return }
        self.isLoadingRecord = true
        let flow = self.flow
        let version = self.version
        let epoch = self.epoch
        self.shard.load { services in
            try await services.manager.record(of: flow, atLeast: version)
        } then: { [weak self] (record: FlowRecord??) in
            guard let self else { return }
            self.isLoadingRecord = false
            guard self.isOpen, self.epoch == epoch else { return }
            guard let record else {
                // The store is away: again in a while, at once would be a storm.
                self.shard.loop.assumeIsolated().scheduleTask(in: .seconds(1)) { [weak self] in
                    guard let self, self.isOpen, self.epoch == epoch else { return }
                    self.requestRecord()
                }
                return
            }
            guard let record, record.version >= self.version else {
                // Events overtook the answer. A flow that is not there any more is the version sweep's to find out.
                if self.version > version { self.requestRecord() }
                return
            }
            if record.version == self.version { self.record = record }
            self.setHead(record.head)
        }
    }

    // MARK: Who is here

    private var subscriptions: [ObjectIdentifier: Subscription] = [:]

    func join(_ subscription: Subscription) {
        self.subscriptions[ObjectIdentifier(subscription)] = subscription
        self.subscriberCount += 1
        if subscription.stream.wantsPresence {
            self.presenceCount += 1
            // The newcomer has not heard the number yet.
            self.lastSentPresence = -1
        }
        self.shard.fanoutOccupied(self)
    }

    func leave(_ subscription: Subscription) {
        guard self.subscriptions.removeValue(forKey: ObjectIdentifier(subscription)) != nil else { return }
        self.removeLive(subscription)
        self.subscriberCount -= 1
        if subscription.stream.wantsPresence { self.presenceCount -= 1 }
        if self.subscriberCount == 0 { self.shard.fanoutEmptied(self) }
    }

    /// Calls for everybody who was here at the beginning; they may leave meanwhile.
    func forEachSubscription(_ body: (Subscription) -> Void) {
        for subscription in Array(self.subscriptions.values) where !subscription.reader.hasEnded { body(subscription) }
    }
}
