import FlowCore
import Logging
import NIOCore

/// The encoded latest transient event of one event type.
struct TransientFrame {
    let frame: Frame
    /// Number of the event among all transient events that this fan-out has stored, counted from 1.
    let number: UInt64
}

/// A flow on one event loop: its recent frames, its latest transients and its subscriptions on this loop.
///
/// Confined to its event loop. `FlowFanout+Pass.swift` delivers live events; `FlowFanout+History.swift` serves the
/// subscriptions that are not live.
final class FlowFanout {
    let flow: FlowID
    let shard: StreamShard

    /// Whether the watch table has delivered ``FlowCore/Delivery/opened(_:_:head:epoch:last:)`` in this epoch. From then on
    /// the fan-out is *open*: ``version`` is known, and later events are delivered.
    private(set) var isOpen = false
    private(set) var epoch: Epoch
    /// The flow's latest head that this loop knows. Its version may differ from ``version`` until a read of the store ends.
    /// `nil` if the flow does not exist or no head is known.
    private(set) var head: FlowHead?
    /// The flow's latest version on this loop. A reader whose cursor reaches it goes live.
    private(set) var version: Version = 0
    /// The flow with its state at ``version``; `nil` if it is not in memory. Set it with ``keepRecord(_:)``.
    private var record: FlowRecord?
    /// Number of ticks since a subscriber needed the record or the snapshot.
    private var ticksSinceUse = 0
    /// Whether a read by ``requestRecord()`` is in flight.
    private var isLoadingRecord = false
    /// The newest frames, for subscribers that resume shortly behind the head.
    private(set) var recent: RecentFrames

    /// The latest transient event of each type.
    private(set) var transients = LatestTransients<TransientFrame>()
    /// Number of transient events that this fan-out has stored so far.
    private var transientCount: UInt64 = 0

    /// Number of subscriptions, live or not.
    private(set) var subscriberCount = 0
    /// The `presence` events.
    var presence = PresenceState()
    /// The fan-out of the subscriptions of other accounts; see FlowFanout+Absent.swift. `nil` if there was none yet.
    var absentView: FlowFanout?
    /// Whether this is the absent view of another fan-out.
    let isAbsentView: Bool
    /// Number of opening streams that have this flow.
    var openingStreams = 0
    /// Those of them that wait for the fan-out to be open.
    var openWaiters: [ObjectIdentifier: EventStream] = [:]

    /// The live subscriptions and the pass over them; see FlowFanout+Pass.swift.
    var slots = LiveSlots()
    /// The events that were not yet sent to every live subscription; see FlowFanout+Pass.swift.
    var log = LiveLog()
    /// Whether this fan-out is in the shard's list of fan-outs with events to send. The shard sets it.
    var isInPass = false
    /// What subscriptions that are not live wait for, and what was encoded for them; see FlowFanout+History.swift.
    var history = FanoutHistory()

    /// When the subscriptions of a terminal flow end; `nil` while the flow is not terminal.
    private(set) var lingersUntil: NIODeadline?

    init(flow: FlowID, epoch: Epoch, shard: StreamShard, isAbsentView: Bool = false) {
        self.isAbsentView = isAbsentView
        self.flow = flow
        self.epoch = epoch
        self.shard = shard
        self.recent = RecentFrames(base: 0)
    }

    /// The account that owns the flow; `nil` while the flow does not exist.
    var account: String? { self.head?.account }
    /// The ``TransientFrame/number`` of the newest stored transient event; 0 if there was none.
    var newestTransientNumber: UInt64 { self.transientCount }

    // MARK: Deliveries

    /// Makes the fan-out open (see ``isOpen``) with the flow as the watch table has read it. Events above `head` follow as
    /// deliveries.
    /// - Parameters:
    ///   - record: the stored flow as it was read; `nil` if the flow did not exist.
    ///   - head: the head that was delivered last. It is above that of `record` if events were delivered during the read.
    ///   - last: the latest transients, read together with `record`.
    func opened(_ record: FlowRecord?, head: FlowHead?, epoch: Epoch, last: [TransientEvent]) {
        // The read began before a change of epoch, and its result arrived after the change. The watch table reads the flow
        // again in the new epoch, and then calls this function again.
        guard epoch >= self.epoch else { return }
        if self.isOpen, self.epoch == epoch {
            // Another event loop requested this read. This fan-out is already open, so all later events were or will be
            // delivered anyway.
            if let record, record.version == self.version { self.keepRecord(record) }
            return
        }
        self.isOpen = true
        self.epoch = epoch
        self.version = head?.version ?? 0
        self.recent = RecentFrames(base: self.version)
        self.record = nil
        if let record, record.version == self.version { self.keepRecord(record) }
        self.transients = .init()
        // The transient events were read with `record`. If the flow has ended or was replaced since then, they are void.
        if (head?.resetVersion ?? 0) <= (record?.head.resetVersion ?? 0) {
            for event in last { self.insertTransient(event, Frame.transient(event, of: self.flow)) }
        }
        self.setHead(head)
        let waiters = self.openWaiters
        self.openWaiters = [:]
        for stream in waiters.values { stream.flowOpened() }
        self.forEachSubscription { subscription in
            subscription.readerMayAdvance()
            subscription.stream.advanceReaders()
        }
    }

    /// Receives the next durable events. Those at or below ``version`` were delivered before and are ignored.
    /// - Parameter head: the flow at or after the last event; see ``FlowCore/Delivery``.
    func received(_ frames: [Frame], head: FlowHead?) {
        guard self.isOpen else { return }
        // The head names the flow's owner, and setting it moves the subscriptions of other accounts. Otherwise the other
        // accounts would be sent the flow's first event. The owner changes if the id became free after a deletion.
        if let head, head.account != self.account { self.setHead(head) }
        for frame in frames where frame.version > self.version {
            self.recent.append(frame)
            self.version = frame.version
            self.append(frame)
            self.shard.counters.observe(lagOf: frame, now: self.shard.now())
        }
        if frames.isEmpty, let head, head.version > self.version {
            // The events were pruned before this instance received them. Live subscriptions read history, find the gap and
            // get a `resync`.
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
            // Transient events from before the flow last ended, was replaced or was deleted are void.
            self.transients.removeAll(below: head.resetVersion)
        }
        if let record = self.record, record.version < self.version { self.record = nil }
    }

    /// Receives a transient event of the publisher's account `account`. If the flow has no owner yet, or another one, only
    /// subscribers of `account` get the event.
    func received(_ event: TransientEvent, _ frame: Frame, account: String) {
        guard self.isOpen else { return }
        if let owner = self.account {
            guard owner == account else {
                self.absentView?.received(event, frame, account: account)
                return
            }
            if !event.isForeign { self.insertTransient(event, frame) }
            self.append(frame)
        } else {
            self.append(frame, account: account)
        }
    }

    /// Resets the fan-out to a new epoch. Until the watch table has read the flow in that epoch, the fan-out is not open. Then
    /// every subscriber gets a `resync` and a snapshot.
    func reset(to epoch: Epoch) {
        self.dissolveAbsentView()
        self.isOpen = false
        self.epoch = epoch
        self.head = nil
        self.record = nil
        // Frames of the old history must not reach a reader of the new one.
        self.version = 0
        self.recent = RecentFrames(base: 0)
        self.history.dropEncoded()
        self.log.liftRestrictions()
        self.transients = .init()
        self.lingersUntil = nil
        self.forEachSubscription { $0.reset(.epoch) }
        self.clearLiveLog()
    }

    // MARK: State

    /// The minimum version of a new snapshot. It is above ``version`` if another event loop may have sent a later version
    /// to a client: if that client reconnects to this loop, its snapshot must not be older.
    var minimumSnapshotVersion: Version {
        self.isAbsentView
            ? 0 : max(self.version, self.shard.services.table.highestShown(of: self.flow, epoch: self.epoch))
    }

    /// The flow with its state at `version` or above; `nil` if it is not in memory.
    /// - Parameter version: not below the fan-out's own ``FlowFanout/version``.
    func currentRecord(atLeast version: Version) -> FlowRecord? {
        self.ticksSinceUse = 0
        if let record = self.record, record.version == version { return record }
        if self.head == nil, version == 0, self.isOpen { return self.absentRecord }
        if let cached = self.shard.services.manager.cachedRecord(of: self.flow, atLeast: version) {
            if cached.version == self.version { self.keepRecord(cached) }
            return cached
        }
        return nil
    }

    /// Keeps the flow with its state at ``version``, until the next event, or until the shard needs the memory.
    private func keepRecord(_ record: FlowRecord) {
        self.record = record
        self.shard.keep(record.state.bytes.count, in: self)
    }

    /// Bytes of the kept state and the encoded snapshot.
    var keptBytes: Int { (self.record?.state.bytes.count ?? 0) + self.history.snapshotBytes }

    /// Drops the kept state and the encoded snapshot.
    func dropSnapshot() {
        self.record = nil
        self.history.dropSnapshot()
    }

    /// Drops the kept state and the encoded snapshot if no subscriber has needed them for a while. Called every second.
    func ageSnapshot() {
        self.ticksSinceUse += 1
        if self.ticksSinceUse > StreamShard.idleSnapshotTicks { self.dropSnapshot() }
    }

    /// Reports to the watch table that a subscriber is about to be sent a version above the fan-out's own
    /// ``FlowFanout/version``. Does nothing for other versions.
    func noteShown(_ version: Version) {
        guard version > self.version else { return }
        self.shard.services.table.noteShown(self.flow, version, epoch: self.epoch)
    }

    /// Used in place of the stored flow if the store has no row for the flow: the state `{}` at the fan-out's ``version``.
    var absentRecord: FlowRecord {
        FlowRecord(
            head: FlowHead(
                flow: self.flow, account: "", version: self.version, status: .active, resetVersion: 0,
                updatedAt: Timestamp(milliseconds: 0)),
            state: .emptyObject)
    }

    /// Sets the head. Starts or stops the linger time of a terminal flow, and moves the subscriptions of other accounts when
    /// the owner becomes known.
    private func setHead(_ head: FlowHead?) {
        let owner = self.account
        self.head = head
        guard let head else { return }
        if owner != head.account {
            self.moveOtherAccountsToAbsentView()
            self.closeAbsentViewOfOwner()
        }
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

    /// Whether the flow is terminal and its time for late events is over. `false` while head and delivered version differ: if the
    /// head is older, the flow may no longer be terminal; if it is newer, the event that ended the flow is not delivered yet.
    var lingerHasExpired: Bool {
        guard let head = self.head, head.version == self.version else { return false }
        return self.lingersUntil.map { $0 <= .now() } ?? false
    }

    /// Whether a live subscription ends: the linger time is over, and the subscriber was sent exactly what this loop knows. A
    /// subscriber that was sent less gets the missing events first. One that was sent more, by a read of the store, may have seen
    /// that the flow was opened again.
    func hasEnded(for subscription: Subscription) -> Bool {
        self.lingerHasExpired && subscription.reader.cursor == self.version
    }

    /// The reason with which the subscriptions of a terminal flow end.
    var closingReason: ClosingReason { self.head?.isDeleted == true ? .deleted : .finished }

    /// Stores an event as the latest transient event of its type.
    private func insertTransient(_ event: TransientEvent, _ frame: Frame) {
        self.transientCount += 1
        self.transients.insert(
            event, at: self.version, TransientFrame(frame: frame, number: self.transientCount),
            limits: self.shard.services.configuration.transients)
    }

    /// Reads the stored flow, to learn its head at ``version`` or above. Repeats the read if events were delivered during the
    /// read.
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
                // Events were delivered during the read: read again. Otherwise the store has no row for the flow or a lower
                // version of it, which the version sweep detects.
                if self.version > version { self.requestRecord() }
                return
            }
            if record.version == self.version { self.keepRecord(record) }
            self.setHead(record.head)
        }
    }

    // MARK: Subscriptions

    private var subscriptions: [ObjectIdentifier: Subscription] = [:]

    /// Adds a subscription. It is not live until its reader has reached the head.
    func join(_ subscription: Subscription) {
        self.subscriptions[ObjectIdentifier(subscription)] = subscription
        self.subscriberCount += 1
        if subscription.stream.wantsPresence { self.presence.joined() }
        self.shard.fanoutOccupied(self)
    }

    /// Removes a subscription, live or not. Does nothing if the subscription was already removed.
    func leave(_ subscription: Subscription) {
        guard self.subscriptions.removeValue(forKey: ObjectIdentifier(subscription)) != nil else { return }
        self.removeLive(subscription)
        self.subscriberCount -= 1
        if subscription.stream.wantsPresence { self.presence.left() }
        if self.subscriberCount == 0 { self.shard.fanoutEmptied(self) }
    }

    /// Calls `body` for each subscription that exists when this function is called and has not ended. `body` may end
    /// subscriptions.
    func forEachSubscription(_ body: (Subscription) -> Void) {
        for subscription in Array(self.subscriptions.values) where !subscription.reader.hasEnded { body(subscription) }
    }
}
