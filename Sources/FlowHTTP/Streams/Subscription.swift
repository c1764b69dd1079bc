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
    }

    /// Leaves the live slot. Delivery continues from history when the socket is writable again.
    func fallBehind() {
        self.fanout.removeLive(self)
        self.reader.fellBehind()
    }
}
