import FlowCore
import NIOCore

/// An event that was not yet sent to all live subscribers.
struct LiveLogEntry {
    let frame: Frame
    /// The only account whose subscribers get the event. Set if the flow has no owner yet, else `nil`.
    let account: String?
    /// Number of the newest transient event up to this entry. A subscriber that was sent this entry was also sent that
    /// event.
    let transients: UInt64
}

/// Consecutive frames in one block, shared by all subscribers at the same position.
struct CoalescedFrames {
    /// Live log position of the first frame; for a history page, the version before the first frame.
    let start: Int
    /// Live log position after the last frame; for a history page, the version of the last frame.
    let end: Int
    let block: StreamBlock
    /// Lowest and highest version of the durable events in the block; `nil` without durable events.
    let versions: ClosedRange<Version>?
    /// Whether the versions ascend without gaps.
    let isContiguous: Bool
    /// Whether more frames follow, which would exceed the size of one write.
    var isFull = false
}

/// Delivery of live events.
///
/// Events are appended to the live log. A pass visits the live slots round-robin: each subscriber is sent everything between
/// its position and the end of the log, in one write. Events that arrive during a pass join it. So under load one write carries
/// many events, and every event reaches all live subscribers within one round, even if it arrives during a pass. The pass is
/// divided into slices, between which the event loop does its other work.
extension FlowFanout {
    /// Assigns a live slot to a subscription that was sent everything up to the end of the live log.
    func addLive(_ subscription: Subscription) {
        subscription.position = self.liveLogEnd
        if let slot = self.freeSlots.popLast() {
            self.liveSlots[slot] = subscription
            subscription.liveSlot = slot
        } else {
            subscription.liveSlot = self.liveSlots.count
            self.liveSlots.append(subscription)
            // A running pass also visits the new slot. Otherwise the pass would end one slot early, before the last subscriber
            // was sent the events.
            if self.slotsLeftInPass > 0 { self.slotsLeftInPass += 1 }
        }
    }

    /// Frees the live slot of a subscription. The slot becomes free but stays in the list: the other slots keep their indices,
    /// so that a running pass visits each.
    func removeLive(_ subscription: Subscription) {
        guard subscription.liveSlot >= 0 else { return }
        self.liveSlots[subscription.liveSlot] = nil
        self.freeSlots.append(subscription.liveSlot)
        subscription.liveSlot = -1
    }

    /// Appends an event to the live log and requests a pass.
    /// - Parameter account: if set, only subscribers of this account get the event.
    func append(_ frame: Frame, account: String? = nil) {
        guard self.liveSlots.count > self.freeSlots.count else {
            // No subscription is live. A reader that goes live later finds the durable events in history, and the transient
            // events among the latest transients.
            if !self.liveLog.isEmpty || self.slotsLeftInPass > 0 { self.clearLiveLog() }
            self.liveLogBase += 1
            return
        }
        self.liveLog.append(LiveLogEntry(frame: frame, account: account, transients: self.newestTransientNumber))
        if account != nil { self.restrictedLogEnd = self.liveLogEnd }
        self.slotsLeftInPass = self.liveSlots.count
        if self.liveLog.count % 512 == 0 { self.trimLiveLog() }
        self.shard.enqueue(self)
    }

    /// Drops all entries of the live log and ends the pass.
    func clearLiveLog() {
        self.liveLogBase += self.liveLog.count
        self.liveLog.removeAll(keepingCapacity: self.liveLog.capacity <= 1_024)
        self.slotsLeftInPass = 0
        self.coalesced = nil
    }

    /// Drops the entries that every live subscription was sent.
    private func trimLiveLog() {
        var oldest = self.liveLogEnd
        for case let subscription? in self.liveSlots { oldest = min(oldest, subscription.position) }
        self.liveLog.removeFirst(oldest - self.liveLogBase)
        self.liveLogBase = oldest
    }

    /// Continues this flow's pass: writes to the live subscribers that it has not visited yet.
    /// - Parameter budget: maximum number of subscribers to write to.
    /// - Returns: the part of the budget that was not used.
    func deliver(budget: Int) -> Int {
        var budget = budget
        while self.slotsLeftInPass > 0, budget > 0 {
            if self.nextSlot >= self.liveSlots.count { self.nextSlot = 0 }
            let slot = self.nextSlot
            self.nextSlot += 1
            self.slotsLeftInPass -= 1
            guard let subscription = self.liveSlots[slot], subscription.position < self.liveLogEnd else { continue }
            self.deliver(to: subscription)
            budget -= 1
        }
        if self.slotsLeftInPass == 0 { self.clearLiveLog() }
        return budget
    }

    /// Writes the live log entries that a subscriber was not sent yet, in writes of at most the size of a history page each. If
    /// the socket is not writable, the subscription leaves its live slot and continues from history.
    private func deliver(to subscription: Subscription) {
        let stream = subscription.stream
        while subscription.liveSlot >= 0, subscription.position < self.liveLogEnd {
            guard stream.isWritable else {
                self.shard.counters.slowSubscribers += 1
                subscription.fallBehind()
                return
            }
            guard stream.isPlain, self.account != nil, subscription.position >= self.restrictedLogEnd else {
                self.deliverOneByOne(to: subscription)
                continue
            }
            let frames = self.coalescedFrames(from: subscription.position)
            guard frames.isContiguous, frames.versions.map({ $0.lowerBound == subscription.reader.cursor + 1 }) ?? true else {
                self.deliverOneByOne(to: subscription)
                continue
            }
            subscription.position = frames.end
            subscription.lastTransient = self.liveLog[frames.end - 1 - self.liveLogBase].transients
            if let last = frames.versions?.upperBound { subscription.reader.advance(through: last) }
            self.shard.counters.deliveries += frames.end - frames.start
            stream.send(frames.block)
        }
    }

    /// Encodes the next entries of the live log for this subscriber alone, and writes them together. Used if the stream has
    /// several flows or a type filter, if entries are for one account only, or if the subscriber's cursor does not match the
    /// shared frames.
    private func deliverOneByOne(to subscription: Subscription) {
        let stream = subscription.stream
        let limit = self.shard.services.configuration.page.bytes
        var batch = EncodedBatch()
        var position = subscription.position
        let end = self.liveLogEnd
        while position < end, batch.builder.size < limit {
            let entry = self.liveLog[position - self.liveLogBase]
            position += 1
            if let account = entry.account, account != stream.principal.account { continue }
            if entry.frame.isDurable {
                switch subscription.reader.offer(entry.frame.version) {
                case .accept: stream.encode(entry.frame, for: subscription, into: &batch)
                case .discard: continue
                case .fallBehind:
                    self.shard.counters.slowSubscribers += 1
                    subscription.fallBehind()
                    self.send(batch, to: subscription)
                    stream.advanceReaders()
                    return
                }
            } else {
                stream.encode(entry.frame, for: subscription, into: &batch)
            }
            subscription.lastTransient = entry.transients
            self.shard.counters.deliveries += 1
        }
        subscription.position = position
        self.send(batch, to: subscription)
    }

    /// Writes encoded events, unless all of them were filtered out and the cursor is unchanged.
    private func send(_ batch: EncodedBatch, to subscription: Subscription) {
        let block = subscription.stream.finish(batch, for: subscription)
        if !block.isEmpty { subscription.stream.send(block) }
    }

    /// The live log from a position on in one block: at least one frame, and further ones up to the size of a history page.
    private func coalescedFrames(from position: Int) -> CoalescedFrames {
        let end = self.liveLogEnd
        if let coalesced = self.coalesced, coalesced.start == position, coalesced.end == end || coalesced.isFull {
            return coalesced
        }
        let limit = self.shard.services.configuration.page.bytes
        let first = position - self.liveLogBase
        var last = first
        var bytes = 0
        while last < self.liveLog.count {
            bytes += self.liveLog[last].frame.block.size
            if bytes > limit, last > first { break }
            last += 1
        }
        let entries = self.liveLog[first..<last]
        var frames = Self.coalesce(entries.lazy.map(\.frame), start: position, end: position + entries.count)
        frames.isFull = last < self.liveLog.count
        self.coalesced = frames
        return frames
    }

    /// Copies consecutive frames into one block.
    /// - Parameters:
    ///   - start: live log position of the first frame; of a history page, the version before the first frame.
    ///   - end: live log position after the last frame; of a history page, the version of the last frame.
    static func coalesce(_ frames: some Collection<Frame>, start: Int, end: Int) -> CoalescedFrames {
        var lowest: Version?
        var highest: Version = 0
        var bytes = 0
        var isContiguous = true
        for frame in frames {
            bytes += frame.block.size
            guard frame.isDurable else { continue }
            if lowest == nil { lowest = frame.version } else if frame.version != highest + 1 { isContiguous = false }
            highest = frame.version
        }
        let versions = lowest.map { min($0, highest)...max($0, highest) }
        if frames.count == 1, let only = frames.first {
            return CoalescedFrames(start: start, end: end, block: only.block, versions: versions, isContiguous: true)
        }
        var builder = StreamBlock.Builder(capacity: bytes)
        #if DEBUG
        if InjectedFault.batchReversed.isActive {
            for frame in Array(frames).reversed() { builder.append(frame.block.payload, eventCount: 1) }
            return CoalescedFrames(
                start: start, end: end, block: builder.finish(), versions: versions, isContiguous: isContiguous)
        }
        #endif
        for frame in frames { builder.append(frame.block.payload, eventCount: 1) }
        return CoalescedFrames(
            start: start, end: end, block: builder.finish(), versions: versions, isContiguous: isContiguous)
    }
}
