import FlowCore
import NIOCore

/// Encoding for this stream alone: events of a stream with a type filter or with one cursor for several flows, and the stream's
/// cursor.
extension EventStream {
    /// Appends a frame, unless the stream's type filter excludes it.
    func encode(_ frame: Frame, for subscription: Subscription, into builder: inout StreamBlock.Builder) {
        guard self.encoder.wants(frame.type) else {
            if frame.isDurable { self.positionMoved(subscription) }
            return
        }
        guard frame.isDurable else { return self.encoder.append(frame.encoded, to: &builder) }
        if self.encoder.sharesCursors {
            self.encoder.append(frame.encoded, to: &builder)
        } else {
            self.encoder.append(frame.encoded, cursor: self.cursor(of: subscription, at: frame.version), to: &builder)
        }
        self.positionSent(subscription)
    }

    /// The stream's cursor for the `id:` of a block of this subscription.
    /// - Parameter version: the version in the subscription's flow; `nil` for that of its reader.
    func cursor(of subscription: Subscription, at version: Version? = nil) -> Cursor {
        switch self.encoder.cursors {
        case .flow, .eachFlow:
            return .flow(subscription.fanout.epoch, version ?? subscription.reader.cursor)
        case .combined(let hash):
            let versions = self.subscriptions.map { other -> Version? in
                if let version, other === subscription { return version }
                return other.reader.hasPosition ? other.reader.cursor : nil
            }
            return .flows(self.epoch, hash, versions)
        }
    }

    // MARK: Positions that no block has told

    /// Notes that the type filter left out the newest event of a subscription: the client's cursor is behind. The `id:` of the
    /// next block that has one, at the latest of the next heartbeat, moves it.
    private func positionMoved(_ subscription: Subscription) {
        subscription.hasUnsentPosition = true
        self.hasUnsentPosition = true
    }

    /// Notes that a block has told the client the position of a subscription, and with one cursor for several flows all of them.
    func positionSent(_ subscription: Subscription) {
        guard self.hasUnsentPosition else { return }
        subscription.hasUnsentPosition = false
        if self.encoder.cursors != .eachFlow { self.hasUnsentPosition = false }
    }

    /// The cursor for a control event of the stream, if the client's is behind. `nil` while a snapshot is due: a client that
    /// lost the connection before the snapshot would resume from the cursor, and never receive it.
    ///
    /// On a stream with a cursor for each flow, appends a `caught_up` for each flow whose position was not told, and returns `nil`.
    func takeUnsentPositions(into builder: inout StreamBlock.Builder) -> Cursor? {
        guard self.hasUnsentPosition, let first = self.subscriptions.first else { return nil }
        if self.encoder.cursors == .eachFlow {
            self.hasUnsentPosition = false
            for subscription in self.subscriptions where subscription.hasUnsentPosition {
                // A reader that is behind sends `caught_up` when it goes live.
                guard subscription.reader.isLive else {
                    self.hasUnsentPosition = true
                    continue
                }
                subscription.hasUnsentPosition = false
                self.appendCaughtUp(subscription, to: &builder)
            }
            return nil
        }
        guard self.subscriptions.allSatisfy({ $0.reader.hasPosition || $0.reader.hasEnded }) else { return nil }
        self.hasUnsentPosition = false
        return self.cursor(of: first)
    }

    /// Appends `caught_up` with the position of the subscription.
    func appendCaughtUp(_ subscription: Subscription, to builder: inout StreamBlock.Builder) {
        let event = ControlEvent.caughtUp(subscription.fanout.flow, subscription.reader.cursor)
        self.encoder.append(event.encoded(), cursor: self.cursor(of: subscription), to: &builder)
        self.positionSent(subscription)
    }

    // MARK: Closing

    /// The event `closing` of the stream, or of one of its flows if the stream goes on with others.
    func closing(
        _ reason: ClosingReason, of subscription: Subscription? = nil, reconnect: Bool? = nil, retryMilliseconds: Int? = nil
    ) -> StreamBlock {
        var builder = StreamBlock.Builder()
        let event = ControlEvent.closing(reason, reconnect: reconnect, flow: subscription?.fanout.flow).encoded()
        let cursor = self.takeUnsentPositions(into: &builder)
        self.encoder.append(event, cursor: cursor, retryMilliseconds: retryMilliseconds, to: &builder)
        return builder.finish()
    }
}
