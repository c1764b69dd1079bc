import FlowCore
import NIOCore

/// Events for one write to a connection that does not take a flow's frames as they are: with its own cursor, and without what it
/// filters out.
struct EncodedBatch {
    fileprivate(set) var buffer = ByteBuffer()
    /// A durable event that was filtered out, if none came after it: its place is told without it.
    fileprivate var passedOver: Version?
}

extension EventStream {
    func encode(_ frame: Frame, for subscription: Subscription, into piece: inout EncodedBatch) {
        let isWanted = self.request.types?.contains(frame.type) ?? true
        guard frame.isDurable else {
            if isWanted { piece.buffer.writeImmutableBuffer(frame.bytes) }
            return
        }
        piece.passedOver = isWanted ? nil : frame.version
        guard isWanted else { return }
        if self.hash == nil {
            piece.buffer.writeImmutableBuffer(frame.bytes)
        } else {
            self.writeID(into: &piece.buffer, override: (subscription.index, frame.version))
            piece.buffer.writeImmutableBuffer(frame.body)
        }
    }

    /// What is to be written. A run of events that were filtered out moves the cursor once.
    func finish(_ piece: EncodedBatch, for subscription: Subscription) -> ByteBuffer {
        var buffer = piece.buffer
        if let version = piece.passedOver {
            self.writeID(into: &buffer, override: (subscription.index, version))
            buffer.writeStaticString("\n")
        }
        return buffer
    }

    func writeID(into buffer: inout ByteBuffer, override: (index: Int, version: Version)? = nil) {
        if let hash = self.hash {
            let versions = self.subscriptions.map { subscription -> Version? in
                if let override, override.index == subscription.index { return override.version }
                return subscription.reader.hasPlace ? subscription.reader.cursor : nil
            }
            buffer.writeIDLine(epoch: self.epoch, flows: hash, versions: versions)
        } else if let subscription = self.subscriptions.first {
            buffer.writeIDLine(epoch: self.epoch, version: override?.version ?? subscription.reader.cursor)
        }
    }
}
