import FlowCore
import NIOCore

/// Delivery of live events.
///
/// Events are appended to the live log. A pass visits the live slots round-robin: each subscriber is sent everything between
/// its position and the end of the log, in one write. Events that arrive during a pass join it. So under load one write carries
/// many events, and every event reaches all live subscribers within one round, even if it arrives during a pass. The pass is
/// divided into slices, between which the event loop does its other work.
extension FlowFanout {
    /// Assigns a live slot to a subscription that was sent everything up to the end of the live log.
    func addLive(_ subscription: Subscription) {
        subscription.position = self.log.end
        self.slots.insert(subscription)
    }

    /// Frees the live slot of a subscription; does nothing if it has none.
    func removeLive(_ subscription: Subscription) { self.slots.remove(subscription) }

    /// Number of live slots that the current pass has not visited yet; 0 without a pass.
    var slotsLeftInPass: Int { self.slots.leftInPass }

    /// Appends an event to the live log and requests a pass.
    /// - Parameter account: if set, only subscribers of this account get the event.
    func append(_ frame: Frame, account: String? = nil) {
        guard !self.slots.isEmpty else {
            // No subscription is live. A reader that goes live later finds the durable events in history, and the transient
            // events among the latest transients.
            if self.log.count > 0 || self.slotsLeftInPass > 0 { self.clearLiveLog() }
            self.log.skip()
            return
        }
        self.log.append(LiveLogEntry(frame: frame, account: account, transients: self.newestTransientNumber))
        self.slots.startPass()
        // Drops what every live subscriber was sent.
        if self.log.count % 512 == 0 { self.log.removeAll(below: self.slots.lowestPosition ?? self.log.end) }
        self.shard.enqueue(self)
    }

    /// Drops all entries of the live log and ends the pass.
    func clearLiveLog() {
        self.log.removeAll()
        self.slots.endPass()
    }

    /// Continues this flow's pass: writes to the live subscribers that it has not visited yet.
    /// - Parameter budget: maximum number of subscribers to write to.
    /// - Returns: the part of the budget that was not used.
    func deliver(budget: Int) -> Int {
        var budget = budget
        while self.slots.leftInPass > 0, budget > 0 {
            guard let subscription = self.slots.advancePass(), subscription.position < self.log.end else { continue }
            self.deliver(to: subscription)
            budget -= 1
        }
        if self.slots.leftInPass == 0 { self.clearLiveLog() }
        return budget
    }

    /// Writes the live log entries that a subscriber was not sent yet, in writes of at most the size of a history page each. If
    /// the socket is not writable, the subscription leaves its live slot and continues from history.
    private func deliver(to subscription: Subscription) {
        let stream = subscription.stream
        while subscription.liveSlot >= 0, subscription.position < self.log.end {
            guard stream.isWritable else {
                self.shard.counters.slowSubscribers += 1
                subscription.fallBehind()
                return
            }
            guard let form = stream.sharedForm, self.account != nil, subscription.position >= self.log.restrictedEnd else {
                self.deliverOneByOne(to: subscription)
                continue
            }
            let frames = self.log.coalesced(
                from: subscription.position, form: form, maximumBytes: self.shard.services.configuration.page.bytes)
            guard frames.isContiguous, frames.versions.map({ $0.lowerBound == subscription.reader.cursor + 1 }) ?? true else {
                self.deliverOneByOne(to: subscription)
                continue
            }
            subscription.position = frames.end
            subscription.lastTransient = frames.transients
            if let last = frames.versions?.upperBound { subscription.reader.advance(through: last) }
            self.shard.counters.deliveries += frames.end - frames.start
            stream.send(frames.block)
        }
    }

    /// Encodes the next entries of the live log for this subscriber alone, and writes them together. Used if the stream has one
    /// cursor for several flows or a type filter, if entries are for one account only, or if the subscriber's cursor does not
    /// match the shared frames.
    private func deliverOneByOne(to subscription: Subscription) {
        let stream = subscription.stream
        let limit = self.shard.services.configuration.page.bytes
        var builder = StreamBlock.Builder()
        var position = subscription.position
        let end = self.log.end
        while position < end, builder.size < limit {
            let entry = self.log[position]
            position += 1
            if let account = entry.account, account != stream.principal.account { continue }
            if entry.frame.isDurable {
                switch subscription.reader.offer(entry.frame.version) {
                case .accept: stream.encode(entry.frame, for: subscription, into: &builder)
                case .discard: continue
                case .fallBehind:
                    self.shard.counters.slowSubscribers += 1
                    subscription.fallBehind()
                    self.send(builder, to: stream)
                    stream.advanceReaders()
                    return
                }
            } else {
                stream.encode(entry.frame, for: subscription, into: &builder)
            }
            subscription.lastTransient = entry.transients
            self.shard.counters.deliveries += 1
        }
        subscription.position = position
        self.send(builder, to: stream)
    }

    /// Sends encoded events, unless all of them were filtered out.
    private func send(_ builder: StreamBlock.Builder, to stream: EventStream) {
        let block = builder.finish()
        if !block.isEmpty { stream.send(block) }
    }
}
