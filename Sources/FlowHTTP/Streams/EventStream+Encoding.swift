import FlowCore
import NIOCore

/// Events for one write that are encoded for one stream alone. A stream with a type filter needs this, and a stream with
/// several flows, because each of its `id:` lines contains the versions of all its flows.
struct EncodedBatch {
    fileprivate(set) var builder = StreamBlock.Builder()
    /// The version of the last durable event if it was filtered out; the cursor must still advance to it.
    fileprivate var filteredVersion: Version?

    /// Appends a control event.
    mutating func append(_ write: (inout ByteBuffer) -> Void) { self.builder.append(eventCount: 1, write) }
}

extension EventStream {
    /// Appends a frame, unless the stream's type filter excludes it.
    func encode(_ frame: Frame, for subscription: Subscription, into batch: inout EncodedBatch) {
        let isWanted = self.request.types?.contains(frame.type) ?? true
        guard frame.isDurable else {
            if isWanted { batch.builder.append(frame.body, eventCount: 1) }
            return
        }
        batch.filteredVersion = isWanted ? nil : frame.version
        guard isWanted else { return }
        if self.hash == nil {
            batch.builder.append(frame.block.payload, eventCount: 1)
        } else {
            batch.builder.append(eventCount: 0) { self.writeID(into: &$0, override: (subscription.index, frame.version)) }
            batch.builder.append(frame.body, eventCount: 1)
        }
    }

    /// The block of the batch. If the last durable events were filtered out, an `id:` line at the end advances the client's
    /// cursor past them.
    func finish(_ batch: EncodedBatch, for subscription: Subscription) -> StreamBlock {
        var builder = batch.builder
        if let version = batch.filteredVersion {
            builder.append(eventCount: 0) { buffer in
                self.writeID(into: &buffer, override: (subscription.index, version))
                buffer.writeStaticString("\n")
            }
        }
        return builder.finish()
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
