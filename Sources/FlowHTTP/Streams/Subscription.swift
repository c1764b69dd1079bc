import FlowCore
import NIOCore

/// One flow on one event stream: its reader, and its position among the flow's live subscriptions.
///
/// Confined to the event loop of its fan-out.
final class Subscription {
    /// A reference cycle while the stream is open; the stream removes its subscriptions when it ends.
    let stream: EventStream
    let fanout: FlowFanout
    /// Index of the flow in the stream's cursor.
    let index: Int
    var reader: FlowReader
    /// Position in the fan-out's live log. The subscriber was sent all events below it.
    var position = 0
    /// Live slot; -1 while the subscription is not live.
    var liveSlot = -1
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
