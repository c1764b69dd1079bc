import FlowCore
import NIOCore

/// An event on its way to the live subscribers.
struct LiveLogEntry {
    let frame: Frame
    /// Set where the flow has no owner yet: only this account's subscribers get it.
    let account: String?
    /// The number of the last transient event up to here: whoever was sent this entry has them all.
    let transients: UInt64
}

/// Consecutive frames in one buffer, made once for everybody who stands at the same place.
struct CoalescedFrames {
    let start: Int
    let end: Int
    let buffer: ByteBuffer
    /// The durable versions inside; `nil` if there are none.
    let versions: ClosedRange<Version>?
    /// Whether these versions follow one another without a hole.
    let isContiguous: Bool
    /// Whether it ends where it does because more would be too much for one write.
    var isFull = false
}

/// The way of live events.
///
/// They are appended to a log, and a pass goes round the seats like an elevator: each subscriber that it comes to is given
/// everything between its position and the end of the log, in one write. What arrives while the pass is under way joins
/// it, so under load a write carries many events, and an event needs one round whenever it comes. The pass stops for the
/// event loop's other work after a slice of writes.
extension FlowFanout {
    /// A live subscriber takes a seat. It has everything up to the end of the log.
    func addLive(_ subscription: Subscription) {
        subscription.position = self.liveLogEnd
        if let slot = self.freeSlots.popLast() {
            self.liveSlots[slot] = subscription
            subscription.liveSlot = slot
        } else {
            subscription.liveSlot = self.liveSlots.count
            self.liveSlots.append(subscription)
            // A pass that is under way comes by the new seat, too: without one more, it would stop a seat short of where it began.
            if self.slotsLeftInPass > 0 { self.slotsLeftInPass += 1 }
        }
    }

    /// The subscriber is not live any more. Its seat stays empty for the next one, so that a pass is not disturbed.
    func removeLive(_ subscription: Subscription) {
        guard subscription.liveSlot >= 0 else { return }
        self.liveSlots[subscription.liveSlot] = nil
        self.freeSlots.append(subscription.liveSlot)
        subscription.liveSlot = -1
    }

    /// - Parameter account: set where only its subscribers may get the event.
    func append(_ frame: Frame, account: String? = nil) {
        guard self.liveSlots.count > self.freeSlots.count else {
            // Nobody is live: readers find durable events in history and transients among the latest.
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

    func clearLiveLog() {
        self.liveLogBase += self.liveLog.count
        self.liveLog.removeAll(keepingCapacity: self.liveLog.capacity <= 1_024)
        self.slotsLeftInPass = 0
        self.coalesced = nil
    }

    /// Drops what everybody has.
    private func trimLiveLog() {
        var oldest = self.liveLogEnd
        for case let subscription? in self.liveSlots { oldest = min(oldest, subscription.position) }
        self.liveLog.removeFirst(oldest - self.liveLogBase)
        self.liveLogBase = oldest
    }

    /// Goes on with the pass for at most so many writes.
    /// - Returns: the writes that are left.
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

    /// Everything that is due, in pieces that may wait for one peer, as long as the peer takes them.
    private func deliver(to subscription: Subscription) {
        let stream = subscription.stream
        while subscription.liveSlot >= 0, subscription.position < self.liveLogEnd {
            guard stream.isWritable else {
                self.shard.counters.slowReaders += 1
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
            stream.send(frames.buffer)
        }
    }

    /// For connections with several flows, with a filter, or whose cursor is inside the batch. One batch.
    private func deliverOneByOne(to subscription: Subscription) {
        let stream = subscription.stream
        let limit = self.shard.services.configuration.page.bytes
        var batch = EncodedBatch()
        var position = subscription.position
        let end = self.liveLogEnd
        while position < end, batch.buffer.readableBytes < limit {
            let entry = self.liveLog[position - self.liveLogBase]
            position += 1
            if let account = entry.account, account != stream.principal.account { continue }
            if entry.frame.isDurable {
                switch subscription.reader.offer(entry.frame.version) {
                case .accept: stream.encode(entry.frame, for: subscription, into: &batch)
                case .discard: continue
                case .fallBehind:
                    self.shard.counters.slowReaders += 1
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

    private func send(_ batch: EncodedBatch, to subscription: Subscription) {
        let buffer = subscription.stream.finish(batch, for: subscription)
        if buffer.readableBytes > 0 { subscription.stream.send(buffer) }
    }

    /// The log from a position on, as much of it as may wait for one peer but at least one frame.
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
            bytes += self.liveLog[last].frame.bytes.readableBytes
            if bytes > limit, last > first { break }
            last += 1
        }
        let entries = self.liveLog[first..<last]
        var frames = Self.coalesce(entries.lazy.map(\.frame), start: position, end: position + entries.count)
        frames.isFull = last < self.liveLog.count
        self.coalesced = frames
        return frames
    }

    static func coalesce(_ frames: some Collection<Frame>, start: Int, end: Int) -> CoalescedFrames {
        var lowest: Version?
        var highest: Version = 0
        var bytes = 0
        var isContiguous = true
        for frame in frames {
            bytes += frame.bytes.readableBytes
            guard frame.isDurable else { continue }
            if lowest == nil { lowest = frame.version } else if frame.version != highest + 1 { isContiguous = false }
            highest = frame.version
        }
        let versions = lowest.map { min($0, highest)...max($0, highest) }
        if frames.count == 1, let only = frames.first {
            return CoalescedFrames(start: start, end: end, buffer: only.bytes, versions: versions, isContiguous: true)
        }
        var buffer = ByteBufferAllocator().buffer(capacity: bytes)
        #if DEBUG
        if InjectedFault.batchReversed.isActive {
            for frame in Array(frames).reversed() { buffer.writeImmutableBuffer(frame.bytes) }
            return CoalescedFrames(start: start, end: end, buffer: buffer, versions: versions, isContiguous: isContiguous)
        }
        #endif
        for frame in frames { buffer.writeImmutableBuffer(frame.bytes) }
        return CoalescedFrames(start: start, end: end, buffer: buffer, versions: versions, isContiguous: isContiguous)
    }
}
