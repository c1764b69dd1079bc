import FlowCore
import NIOCore

/// One flow on one event stream: a reader of the core, with its place among the flow's live subscribers.
///
/// Confined to the event loop of its fanout.
final class Subscription {
    /// A cycle while the stream lives; its end takes the subscriptions away.
    let stream: EventStream
    let fanout: FlowFanout
    /// Its place in the stream's cursor.
    let index: Int
    var reader: FlowReader
    /// Where it stands in the fanout's live log.
    var position = 0
    /// Its seat among the live subscribers; -1 while it is not one.
    var liveSlot = -1
    /// The number of the last transient event that it was given.
    var lastTransient: UInt64 = 0

    init(stream: EventStream, fanout: FlowFanout, index: Int, startPoint: StartPoint) {
        self.stream = stream
        self.fanout = fanout
        self.index = index
        self.reader = FlowReader(startPoint, head: startPoint == .head ? fanout.minimumSnapshotVersion : fanout.version)
    }

    /// What it holds is void: it begins anew with a notice and a snapshot.
    func reset(_ reason: ResyncReason) {
        self.fanout.removeLive(self)
        self.reader.reset(reason)
    }

    /// It leaves the live ones and reads from history once the socket takes more.
    func fallBehind() {
        self.fanout.removeLive(self)
        self.reader.fellBehind()
    }
}
