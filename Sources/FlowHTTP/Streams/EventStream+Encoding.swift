import FlowCore
import NIOCore

/// Events as this connection needs them: with its own cursor, or only their place where the type is filtered out.
extension EventStream {
    func encode(_ frame: Frame, for subscription: Subscription, into buffer: inout ByteBuffer) {
        self.encode(frame, at: subscription.reader.cursor, for: subscription, into: &buffer)
    }

    func encode(_ frame: Frame, at version: Version, for subscription: Subscription, into buffer: inout ByteBuffer) {
        let isWanted = self.request.types?.contains(frame.type) ?? true
        if !frame.isDurable {
            if isWanted { buffer.writeImmutableBuffer(frame.bytes) }
            return
        }
        if self.hash == nil {
            if isWanted {
                buffer.writeImmutableBuffer(frame.bytes)
            } else {
                buffer.writeIDLine(epoch: self.epoch, version: frame.version)
                buffer.writeStaticString("\n")
            }
        } else {
            self.writeID(into: &buffer, override: (subscription.index, version))
            if isWanted { buffer.writeImmutableBuffer(frame.body) } else { buffer.writeStaticString("\n") }
        }
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
