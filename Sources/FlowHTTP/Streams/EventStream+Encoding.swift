import FlowCore
import NIOCore

/// Events for one write to a connection that does not take a flow's frames as they are: with its own cursor, and without what it
/// filters out.
struct EncodedBatch {
    fileprivate(set) var buffer = ByteBuffer()
    /// A durable event that was filtered out, if none came after it: its place is told without it.
    fileprivate var filteredVersion: Version?
}

extension EventStream {
    func encode(_ frame: Frame, for subscription: Subscription, into batch: inout EncodedBatch) {
        let isWanted = self.request.types?.contains(frame.type) ?? true
        guard frame.isDurable else {
            if isWanted { batch.buffer.writeImmutableBuffer(frame.bytes) }
            return
        }
        batch.filteredVersion = isWanted ? nil : frame.version
        guard isWanted else { return }
        if self.hash == nil {
            batch.buffer.writeImmutableBuffer(frame.bytes)
        } else {
            self.writeID(into: &batch.buffer, override: (subscription.index, frame.version))
            batch.buffer.writeImmutableBuffer(frame.body)
        }
    }

    /// What is to be written. A run of events that were filtered out moves the cursor once.
    func finish(_ batch: EncodedBatch, for subscription: Subscription) -> ByteBuffer {
        var buffer = batch.buffer
        if let version = batch.filteredVersion {
            self.writeID(into: &buffer, override: (subscription.index, version))
            buffer.writeStaticString("\n")
        }
        return buffer
    }

    func writeID(into buffer: inout ByteBuffer, override: (index: Int, version: Version)? = nil) {
        if let hash = self.hash {
            let versions = self.subscriptions.map { subscription -> Version? in
                if let override, override.index == subscription.index { return override.version }
                return subscription.reader.hasPosition ? subscription.reader.cursor : nil
            }
            buffer.writeIDLine(epoch: self.epoch, flows: hash, versions: versions)
        } else if let subscription = self.subscriptions.first {
            buffer.writeIDLine(epoch: self.epoch, version: override?.version ?? subscription.reader.cursor)
        }
    }
}
