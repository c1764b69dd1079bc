import FlowCore
import NIOCore

/// Events for one write that are encoded for one stream alone. A stream with a type filter needs this, and a stream with
/// several flows, because each of its `id:` lines contains the versions of all its flows.
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

    /// The bytes of the batch. If the last durable events were filtered out, an `id:` line at the end advances the client's
    /// cursor past them.
    func finish(_ batch: EncodedBatch, for subscription: Subscription) -> ByteBuffer {
        var buffer = batch.buffer
        if let version = batch.filteredVersion {
            self.writeID(into: &buffer, override: (subscription.index, version))
            buffer.writeStaticString("\n")
        }
        return buffer
    }

    /// Writes the stream's cursor as an `id:` line.
    /// - Parameter override: the index of one flow, and the version to write for this flow instead of its reader's cursor.
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
