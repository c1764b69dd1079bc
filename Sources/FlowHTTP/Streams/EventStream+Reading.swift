import FlowCore
import NIOCore

/// Reading snapshots and history, until the subscriptions are live.
extension EventStream {
    /// Does the next steps of the subscriptions' readers (load a snapshot or a history page, go live), one step per
    /// subscription in turn, until every reader waits. Then flushes.
    func advanceReaders() {
        guard self.state == .open, !self.isAdvancing else { return }
        self.isAdvancing = true
        var idle = 0
        while idle < self.subscriptions.count, self.state == .open {
            let subscription = self.subscriptions[self.turn % self.subscriptions.count]
            self.turn += 1
            switch subscription.reader.next(
                head: subscription.fanout.version, isWritable: self.mayReadHistory && subscription.fanout.isOpen)
            {
            case .loadSnapshot:
                subscription.fanout.requestSnapshot(for: subscription)
                idle = 0
            case .loadPage(let after):
                subscription.fanout.requestPage(after: after, for: subscription)
                idle = 0
            case .goLive(let sendsCaughtUp):
                self.goLive(subscription, sendsCaughtUp: sendsCaughtUp)
                idle = 0
            case .wait:
                idle += 1
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
        let body = fanout.snapshotBody(of: record)
        subscription.lastTransient = fanout.newestTransientNumber
        self.write(
            StreamBlock(eventCount: notice == nil ? 1 : 2, capacity: body.readableBytes + 256) { buffer in
                if let notice {
                    buffer.writeResync(fanout.flow, reason: notice.reason, from: notice.from, to: record.version)
                }
                self.writeID(into: &buffer)
                buffer.writeImmutableBuffer(body)
            })
    }

    /// Sends the events of a history page that are above the reader's cursor. If the page shows that the position is invalid,
    /// sends nothing; a snapshot with `resync` follows.
    /// - Parameters:
    ///   - coalesced: `frames` in one block; `nil` if `frames` is empty.
    ///   - storeHead: the flow's version in the store, from the read that loaded the history page; `nil` if the history page
    ///     consists of recent frames.
    func sendPage(_ frames: [Frame], coalesced: CoalescedFrames?, storeHead: Version?, for subscription: Subscription) {
        guard self.state == .open else { return }
        let versions = frames.first.flatMap { first in frames.last.map { first.version...$0.version } }
        switch subscription.reader.pageLoaded(versions: versions, storeHead: storeHead) {
        case .ignore: break
        case .resync(let reason): self.count(reason)
        case .send(let from):
            subscription.fanout.noteShown(subscription.reader.cursor)
            if self.isPlain, from == 0, let coalesced {
                self.shard.counters.deliveries += frames.count
                self.write(coalesced.block)
            } else {
                var batch = EncodedBatch()
                for frame in frames.dropFirst(from) {
                    self.encode(frame, for: subscription, into: &batch)
                    self.shard.counters.deliveries += 1
                }
                let block = self.finish(batch, for: subscription)
                if !block.isEmpty { self.write(block) }
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
            var batch = EncodedBatch()
            batch.append { $0.writeCaughtUp(fanout.flow, version: subscription.reader.cursor) }
            for transient in fanout.transients.entries where transient.attachment.number > subscription.lastTransient {
                self.encode(transient.attachment.frame, for: subscription, into: &batch)
            }
            self.write(self.finish(batch, for: subscription))
        }
        #if DEBUG
        if InjectedFault.replayOverlaps.isActive,
            let repeated = fanout.recent.page(after: subscription.reader.cursor - 1, maximumBytes: 1)?.first
        {
            self.write(repeated.block)
        }
        #endif
        // The write above may have failed, which closes the stream.
        guard self.state == .open, !subscription.reader.hasEnded else { return }
        subscription.lastTransient = fanout.newestTransientNumber
        fanout.addLive(subscription)
        if fanout.lingerHasExpired { self.end(subscription, fanout.closingReason) }
    }
}
