import FlowCore
import Logging
import NIOCore

/// The latest transient event of a type.
struct TransientFrame {
    let frame: Frame
    /// Sequence number among all transient events of the flow that were inserted on this loop.
    let number: UInt64
}

/// A flow on one event loop: its recent frames, its latest transients and its subscriptions on this loop.
///
/// Confined to its event loop. `FlowFanout+Pass.swift` delivers live events; `FlowFanout+History.swift` serves the
/// subscriptions that are not live.
final class FlowFanout {
    let flow: FlowID
    let shard: StreamShard

    private(set) var isOpen = false
    private(set) var epoch: Epoch
    /// The flow as of ``version``; `nil` while it does not exist.
    private(set) var head: FlowHead?
    /// The flow's latest version on this loop. A reader whose cursor reaches it goes live.
    private(set) var version: Version = 0
    /// The flow with its state at ``version``; `nil` if it is not in memory.
    private var record: FlowRecord?
    private var isLoadingRecord = false
    private(set) var recent: RecentFrames

    /// The latest transient event of each type.
    private(set) var transients = LatestTransients<TransientFrame>()
    private var transientCount: UInt64 = 0

    // All subscriptions, live or not.
    private(set) var subscriberCount = 0
    var presenceCount = 0
    var lastSentPresence = -1
    /// The streams that wait for the flow to be opened.
    var openWaiters: [ObjectIdentifier: EventStream] = [:]

    // Live subscriptions; see FlowFanout+Pass.swift.
    var liveSlots: [Subscription?] = []
    var freeSlots: [Int] = []
    var liveLog: [LiveLogEntry] = []
    var liveLogBase = 0
    var nextSlot = 0
    var slotsLeftInPass = 0
    var isInPass = false
    var coalesced: CoalescedFrames?
    /// Live log position below which entries may be for one account only, because the flow had no owner yet.
    var restrictedLogEnd = 0

    // Loads in flight; see FlowFanout+History.swift.
    var pageWaiters: [Version: [Subscription]] = [:]
    /// Subscriptions that wait for a snapshot, by its minimum version.
    var snapshotWaiters: [Version: [Subscription]] = [:]
    var snapshot: (version: Version, transient: UInt64, block: ByteBuffer)?
    var page: CoalescedFrames?

    /// When the streams of a terminal flow end; `nil` while the flow is not terminal.
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

    /// Opens the flow. Events after `head` follow as deliveries.
    /// - Parameters:
    ///   - record: the flow as it was read; `nil` if it did not exist.
    ///   - head: the head that was delivered last. It is above the record's if events were delivered during the read.
    ///   - last: the latest transients, read with the record.
    func opened(_ record: FlowRecord?, head: FlowHead?, epoch: Epoch, last: [TransientEvent]) {
        // The read began before a change of epoch and was delivered after it. The flow will be opened again.
        guard epoch >= self.epoch else { return }
        if self.isOpen, self.epoch == epoch {
            // Requested by another loop. Everything above this version was or will be delivered here anyway.
            if let record, record.version == self.version { self.record = record }
            return
        }
        self.isOpen = true
        self.epoch = epoch
        self.version = head?.version ?? 0
        self.recent = RecentFrames(base: self.version)
        self.record = record?.version == self.version ? record : nil
        self.transients = .init()
        // The transients were read with the record. An end or replacement that was delivered since then makes them void.
        if (head?.resetVersion ?? 0) <= (record?.head.resetVersion ?? 0) {
            for event in last { self.insertTransient(event, Frame.transient(event, of: self.flow)) }
        }
        self.setHead(head)
        let waiters = self.openWaiters
        self.openWaiters = [:]
        for stream in waiters.values { stream.flowOpened() }
        self.forEachSubscription { $0.stream.advanceReaders() }
    }

    /// Receives the next durable events. Those at or below ``version`` were delivered before and are ignored.
    func received(_ frames: [Frame], head: FlowHead?) {
        guard self.isOpen else { return }
        // The flow's account must be known before its first event is sent to a subscriber.
        if self.head == nil, let head { self.setHead(head) }
        for frame in frames where frame.version > self.version {
            self.recent.append(frame)
            self.version = frame.version
            self.append(frame)
            self.shard.counters.observe(lagOf: frame, now: self.shard.now())
        }
        if frames.isEmpty, let head, head.version > self.version {
            // The events were pruned before this instance received them. Live subscriptions read history and are resynced.
            self.version = head.version
            self.recent = RecentFrames(base: self.version)
            self.forEachSubscription { if $0.reader.isLive { $0.fallBehind() } }
            self.forEachSubscription { $0.stream.advanceReaders() }
        }
        if let head, head.version == self.version {
            self.setHead(head)
        } else if self.head == nil || self.head?.status.isTerminal == true || head.map({ $0.version > self.version }) == true {
            // The head at the latest version is not known: read it from the store.
            self.requestRecord()
        }
        if let head {
            // Transients from before an end, a replacement or a deletion are void.
            self.transients.removeAll(below: head.resetVersion)
        }
        if let record = self.record, record.version < self.version { self.record = nil }
    }

    /// Receives a transient event. It is dropped if the flow belongs to an account other than `account`.
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

    /// Resets the flow to a new epoch. It will be opened again, and every subscription gets a `resync` and a snapshot.
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

    /// The minimum version of a new snapshot. It is above ``version`` if another loop has already shown a later version.
    var minimumSnapshotVersion: Version {
        max(self.version, self.shard.services.table.highestShown(of: self.flow, epoch: self.epoch))
    }

    /// The flow with its state at `version` or above; `nil` if it is not in memory.
    /// - Parameter version: must be at least ``version``.
    func currentRecord(atLeast version: Version) -> FlowRecord? {
        if let record = self.record, record.version == version { return record }
        if self.head == nil, version == 0, self.isOpen { return self.absentRecord }
        if let cached = self.shard.services.manager.cachedRecord(of: self.flow, atLeast: version) {
            if cached.version == self.version { self.record = cached }
            return cached
        }
        return nil
    }

    /// Records that a subscriber is about to be sent this version, if the loop's own version is below it.
    func noteShown(_ version: Version) {
        guard version > self.version else { return }
        self.shard.services.table.noteShown(self.flow, version, epoch: self.epoch)
    }

    /// The record of a flow that does not exist.
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

    /// Whether the flow is terminal and no longer waits for late events. `false` if an event after the end was delivered and
    /// its head is not known yet: it may have reopened the flow.
    var lingerHasExpired: Bool {
        guard let head = self.head, head.version >= self.version else { return false }
        return self.lingersUntil.map { $0 <= .now() } ?? false
    }

    var closingReason: ClosingReason { self.head?.isDeleted == true ? .deleted : .finished }

    /// Ends the subscriptions of other accounts. They were possible while the flow did not exist and so had no owner.
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

    /// Reads the flow from the store, and again if events were delivered during the read.
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
                // The store is unavailable. Retry after 1 s; an immediate retry would flood it.
                self.shard.loop.assumeIsolated().scheduleTask(in: .seconds(1)) { [weak self] in
                    guard let self, self.isOpen, self.epoch == epoch else { return }
                    self.requestRecord()
                }
                return
            }
            guard let record, record.version >= self.version else {
                // Events were delivered during the read: read again. Otherwise the flow no longer exists in the store, which
                // the version sweep detects.
                if self.version > version { self.requestRecord() }
                return
            }
            if record.version == self.version { self.record = record }
            self.setHead(record.head)
        }
    }

    // MARK: Subscriptions

    private var subscriptions: [ObjectIdentifier: Subscription] = [:]

    func join(_ subscription: Subscription) {
        self.subscriptions[ObjectIdentifier(subscription)] = subscription
        self.subscriberCount += 1
        if subscription.stream.wantsPresence {
            self.presenceCount += 1
            // The new subscriber was not sent the count yet.
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

    /// Calls `body` for each subscription present at the start that has not ended. `body` may end subscriptions.
    func forEachSubscription(_ body: (Subscription) -> Void) {
        for subscription in Array(self.subscriptions.values) where !subscription.reader.hasEnded { body(subscription) }
    }
}
