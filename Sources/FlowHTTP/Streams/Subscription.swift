import DequeModule
import FlowCore
import NIOCore

/// One flow on one event stream: its reader, its live slot, and how far the subscriber has been sent the live log.
///
/// Confined to the event loop of its fan-out.
final class Subscription {
    /// The stream. Stream and subscription refer to each other until the stream ends and removes its subscriptions.
    let stream: EventStream
    private(set) var fanout: FlowFanout
    /// Index of the flow in the stream's cursor.
    let index: Int
    var reader: FlowReader
    /// Live log position (see ``LiveLog``), not a version, of the first entry that the subscriber was not sent
    /// yet. Used only while the subscription is live.
    var position = 0
    /// Index of the subscription's live slot; -1 while the subscription is not live.
    var liveSlot = -1
    /// Whether the type filter left out events since the client was told the position.
    var hasUnsentPosition = false
    /// Number of the newest transient event that the subscriber was sent.
    var lastTransient: UInt64 = 0
    /// Whether the subscription is in the queue of its stream's ``SubscriptionQueue``.
    fileprivate var isQueued = false
    /// Whether a snapshot or history page was requested and has not arrived.
    fileprivate var isLoading = false

    /// - Parameters:
    ///   - index: index of the flow in the stream's cursor.
    ///   - startPoint: where the subscriber starts to read.
    init(stream: EventStream, fanout: FlowFanout, index: Int, startPoint: StartPoint) {
        self.stream = stream
        self.fanout = fanout
        self.index = index
        self.reader = FlowReader(startPoint, head: startPoint == .head ? fanout.minimumSnapshotVersion : fanout.version)
    }

    /// Sets the fan-out. The caller removes the subscription from the previous one and adds it to this one.
    func move(to fanout: FlowFanout) { self.fanout = fanout }

    /// Invalidates the position: a `resync` and a snapshot follow.
    func reset(_ reason: ResyncReason) {
        self.fanout.removeLive(self)
        self.reader.reset(reason)
        self.readerMayAdvance()
    }

    /// Leaves the live slot. Delivery continues from history when the socket is writable again.
    func fallBehind() {
        self.fanout.removeLive(self)
        self.reader.fellBehind()
        self.readerMayAdvance()
    }

    /// Reports a load that failed, or whose result is not needed any more.
    func loadFailed() {
        self.reader.loadFailed()
        self.readerMayAdvance()
    }

    /// Called when the reader may have a next step: after a load, a reset and when it has fallen behind. The next call of
    /// ``EventStream/advanceReaders()`` asks it.
    func readerMayAdvance() { self.stream.queue.append(self) }
}

/// The subscriptions of a stream whose readers may have a next step, in the order of their turns. So the steps of a stream cost
/// nothing for those of its flows that are live, however many they are.
///
/// A stream has a limited number of loads at a time. Otherwise one with many flows could have a history page of each in memory.
struct SubscriptionQueue {
    /// Maximum number of snapshots and history pages that one stream loads at the same time.
    static let maximumLoads = 8

    private var queued = Deque<Subscription>()
    private var loads = 0

    /// Adds a subscription at the end, unless it is in the queue or has ended. Its load, if there was one, is over.
    mutating func append(_ subscription: Subscription) {
        self.loadEnded(of: subscription)
        guard !subscription.isQueued, !subscription.reader.hasEnded else { return }
        subscription.isQueued = true
        self.queued.append(subscription)
    }

    /// Takes the first subscription, unless the maximum number of loads is in flight.
    mutating func next() -> Subscription? {
        guard self.loads < Self.maximumLoads, let first = self.queued.popFirst() else { return nil }
        first.isQueued = false
        // A stream whose flows are all live holds no storage for their turns.
        if self.queued.isEmpty { self.queued = [] }
        return first
    }

    /// Counts a load that the subscription is about to request.
    mutating func loadStarts(of subscription: Subscription) {
        subscription.isLoading = true
        self.loads += 1
    }

    /// Subtracts the load of a subscription, if it has one.
    mutating func loadEnded(of subscription: Subscription) {
        guard subscription.isLoading else { return }
        subscription.isLoading = false
        self.loads -= 1
    }
}
