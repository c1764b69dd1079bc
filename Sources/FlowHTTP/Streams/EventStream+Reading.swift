import FlowCore
import NIOCore

/// Reading snapshots and history, until the subscriptions are live.
extension EventStream {
    /// Does the next steps of the subscriptions' readers (load a snapshot or a history page, go live), one step per
    /// subscription in turn, until every reader waits. Then flushes.
    func advanceReaders() {
        guard self.state == .open, !self.isAdvancing else { return }
        self.isAdvancing = true
        while self.state == .open, self.mayReadHistory, let subscription = self.queue.next() {
            let fanout = subscription.fanout
            switch subscription.reader.next(head: fanout.version, isWritable: fanout.isOpen) {
            case .loadSnapshot:
                self.queue.loadStarts(of: subscription)
                fanout.requestSnapshot(for: subscription)
            case .loadPage(let after):
                self.queue.loadStarts(of: subscription)
                fanout.requestPage(after: after, for: subscription)
            case .goLive(let sendsCaughtUp):
                self.goLive(subscription, sendsCaughtUp: sendsCaughtUp)
            case .wait:
                // A fan-out that is not open queues its subscriptions again when it opens.
                break
            }
        }
        self.isAdvancing = false
        self.feedReader?.resume()
        self.flush()
    }

    /// Whether the socket is writable and the queued bytes of all streams are below their limit.
    private var mayReadHistory: Bool { self.isWritable && self.shard.hasQueueBudget }

    /// Sends the state with its position as `id:`, preceded by `resync` if the client's position was invalid. Moves the
    /// subscription to the absent view instead if the flow belongs to another account.
    func sendSnapshot(_ record: FlowRecord, for subscription: Subscription) {
        // The result of a load that was started before the reader was reset is dropped.
        guard self.state == .open, subscription.reader.awaitsSnapshot else { return }
        let fanout = subscription.fanout
        let owner = record.version > 0 ? record.head.account : fanout.account
        if let owner, owner != self.principal.account {
            fanout.moveToAbsentView(subscription)
            return
        }
        fanout.noteShown(record.version)
        let notice = subscription.reader.snapshotLoaded(version: record.version)
        subscription.readerMayAdvance()
        if let notice {
            let event = ControlEvent.resync(fanout.flow, notice.reason, from: notice.from, to: record.version)
            self.write(self.encoder.block(of: event.encoded()))
        }
        subscription.lastTransient = fanout.newestTransientNumber
        if self.encoder.sharesCursors {
            self.write(fanout.snapshotBlock(of: record, form: self.encoder.form))
        } else {
            let event = fanout.snapshot(of: record)
            var builder = StreamBlock.Builder(capacity: event.block.size + 256)
            self.encoder.append(event, cursor: self.cursor(of: subscription), to: &builder)
            self.write(builder.finish())
        }
        self.positionSent(subscription)
    }

    /// Sends the events of a history page that are above the reader's cursor. If the page shows that the position is invalid,
    /// sends nothing; a snapshot with `resync` follows.
    /// - Parameters:
    ///   - shared: `frames` as one block in the stream's ``sharedForm``; `nil` if there are none or the stream has no such form.
    ///   - storeHead: the flow's version in the store, from the read that loaded the history page; `nil` if the history page
    ///     consists of recent frames.
    func sendPage(_ frames: [Frame], shared: StreamBlock?, storeHead: Version?, for subscription: Subscription) {
        guard self.state == .open else { return }
        defer { subscription.readerMayAdvance() }
        let versions = frames.first.flatMap { first in frames.last.map { first.version...$0.version } }
        switch subscription.reader.pageLoaded(versions: versions, storeHead: storeHead) {
        case .ignore: break
        case .resync(let reason): self.count(reason)
        case .send(let from):
            subscription.fanout.noteShown(subscription.reader.cursor)
            self.shard.counters.deliveries += max(0, frames.count - from)
            if from == 0, let shared {
                self.write(shared)
            } else {
                var builder = StreamBlock.Builder()
                for frame in frames.dropFirst(from) { self.encode(frame, for: subscription, into: &builder) }
                self.write(builder.finish())
            }
            // Flushes after each history page. The next one is loaded only if the socket is still writable, so they do not
            // accumulate in the queue.
            self.flush()
        }
    }

    /// Gives a subscription a live slot after its reader has reached the head. Sends `caught_up` and the latest transients
    /// first if `sendsCaughtUp`.
    private func goLive(_ subscription: Subscription, sendsCaughtUp: Bool) {
        let fanout = subscription.fanout
        if sendsCaughtUp {
            var builder = StreamBlock.Builder()
            self.appendCaughtUp(subscription, to: &builder)
            for transient in fanout.transients.entries where transient.attachment.number > subscription.lastTransient {
                self.encode(transient.attachment.frame, for: subscription, into: &builder)
            }
            self.write(builder.finish())
        }
        // The write above may have failed, which closes the stream.
        guard self.state == .open, !subscription.reader.hasEnded else { return }
        subscription.lastTransient = fanout.newestTransientNumber
        fanout.addLive(subscription)
        if fanout.hasEnded(for: subscription) { self.end(subscription, fanout.closingReason) }
    }
}
