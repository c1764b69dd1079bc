import FlowCore
import NIOCore

/// Events for one write to a stream that cannot share a flow's frames: it has several flows, and so a cursor of its own, or a
/// type filter.
struct EncodedBatch {
    fileprivate(set) var buffer = ByteBuffer()
    /// The version of the last durable event if it was filtered out; the cursor must still advance to it.
    fileprivate var filteredVersion: Version?
}

extension EventStream {
    /// Appends a frame, unless the stream's type filter excludes it.
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

    /// The bytes to write. If the last durable events were filtered out, one `id:` line advances the cursor past them.
    func finish(_ batch: EncodedBatch, for subscription: Subscription) -> ByteBuffer {
        var buffer = batch.buffer
        if let version = batch.filteredVersion {
            self.writeID(into: &buffer, override: (subscription.index, version))
            buffer.writeStaticString("\n")
        }
        return buffer
    }

    /// Writes the stream's cursor as an `id:` line.
    /// - Parameter override: a version that replaces the reader's cursor of one flow.
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
