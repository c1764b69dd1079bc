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
    let isUnbroken: Bool
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
    func sit(_ subscription: Subscription) {
        subscription.position = self.logEnd
        if let seat = self.freeSeats.popLast() {
            self.seats[seat] = subscription
            subscription.seat = seat
        } else {
            subscription.seat = self.seats.count
            self.seats.append(subscription)
            // A pass that is under way comes by the new seat, too: without one more, it would stop a seat short of where it began.
            if self.seatsDue > 0 { self.seatsDue += 1 }
        }
    }

    /// The subscriber is not live any more. Its seat stays empty for the next one, so that a pass is not disturbed.
    func stand(_ subscription: Subscription) {
        guard subscription.seat >= 0 else { return }
        self.seats[subscription.seat] = nil
        self.freeSeats.append(subscription.seat)
        subscription.seat = -1
    }

    /// - Parameter account: set where only its subscribers may get the event.
    func append(_ frame: Frame, account: String? = nil) {
        guard self.seats.count > self.freeSeats.count else {
            // Nobody is live: readers find durable events in history and transients among the latest.
            if !self.log.isEmpty || self.seatsDue > 0 { self.clearLog() }
            self.logBase += 1
            return
        }
        self.log.append(LiveLogEntry(frame: frame, account: account, transients: self.newestTransient))
        if account != nil { self.boundEnd = self.logEnd }
        self.seatsDue = self.seats.count
        if self.log.count % 512 == 0 { self.trimLog() }
        self.shard.enqueue(self)
    }

    func clearLog() {
        self.logBase += self.log.count
        self.log.removeAll(keepingCapacity: self.log.capacity <= 1_024)
        self.seatsDue = 0
        self.coalesced = nil
    }

    /// Drops what everybody has.
    private func trimLog() {
        var oldest = self.logEnd
        for case let subscription? in self.seats { oldest = min(oldest, subscription.position) }
        self.log.removeFirst(oldest - self.logBase)
        self.logBase = oldest
    }

    /// Goes on with the pass for at most so many writes.
    /// - Returns: the writes that are left.
    func deliver(budget: Int) -> Int {
        var budget = budget
        while self.seatsDue > 0, budget > 0 {
            if self.nextSeat >= self.seats.count { self.nextSeat = 0 }
            let seat = self.nextSeat
            self.nextSeat += 1
            self.seatsDue -= 1
            guard let subscription = self.seats[seat], subscription.position < self.logEnd else { continue }
            self.deliver(to: subscription)
            budget -= 1
        }
        if self.seatsDue == 0 { self.clearLog() }
        return budget
    }

    /// Everything that is due, in pieces that may wait for one peer, as long as the peer takes them.
    private func deliver(to subscription: Subscription) {
        let stream = subscription.stream
        while subscription.seat >= 0, subscription.position < self.logEnd {
            guard stream.isWritable else {
                self.shard.counters.slowReaders += 1
                subscription.fallBehind()
                return
            }
            guard stream.isPlain, self.account != nil, subscription.position >= self.boundEnd else {
                self.deliverOneByOne(to: subscription)
                continue
            }
            let frames = self.coalescedFrames(from: subscription.position)
            guard frames.isUnbroken, frames.versions.map({ $0.lowerBound == subscription.reader.cursor + 1 }) ?? true else {
                self.deliverOneByOne(to: subscription)
                continue
            }
            subscription.position = frames.end
            subscription.lastTransient = self.log[frames.end - 1 - self.logBase].transients
            if let last = frames.versions?.upperBound { subscription.reader.tookAll(through: last) }
            self.shard.counters.deliveries += frames.end - frames.start
            stream.send(frames.buffer)
        }
    }

    /// For connections with several flows, with a filter, or whose cursor is inside the batch. One piece.
    private func deliverOneByOne(to subscription: Subscription) {
        let stream = subscription.stream
        let limit = self.shard.services.configuration.page.bytes
        var piece = EncodedBatch()
        var position = subscription.position
        let end = self.logEnd
        while position < end, piece.buffer.readableBytes < limit {
            let entry = self.log[position - self.logBase]
            position += 1
            if let account = entry.account, account != stream.principal.account { continue }
            if entry.frame.isDurable {
                switch subscription.reader.offered(entry.frame.version) {
                case .take: stream.encode(entry.frame, for: subscription, into: &piece)
                case .drop: continue
                case .fallBehind:
                    self.shard.counters.slowReaders += 1
                    subscription.fallBehind()
                    self.send(piece, to: subscription)
                    stream.feed()
                    return
                }
            } else {
                stream.encode(entry.frame, for: subscription, into: &piece)
            }
            subscription.lastTransient = entry.transients
            self.shard.counters.deliveries += 1
        }
        subscription.position = position
        self.send(piece, to: subscription)
    }

    private func send(_ piece: EncodedBatch, to subscription: Subscription) {
        let buffer = subscription.stream.finish(piece, for: subscription)
        if buffer.readableBytes > 0 { subscription.stream.send(buffer) }
    }

    /// The log from a position on, as much of it as may wait for one peer but at least one frame.
    private func coalescedFrames(from position: Int) -> CoalescedFrames {
        let end = self.logEnd
        if let coalesced = self.coalesced, coalesced.start == position, coalesced.end == end || coalesced.isFull {
            return coalesced
        }
        let limit = self.shard.services.configuration.page.bytes
        let first = position - self.logBase
        var last = first
        var bytes = 0
        while last < self.log.count {
            bytes += self.log[last].frame.bytes.readableBytes
            if bytes > limit, last > first { break }
            last += 1
        }
        let entries = self.log[first..<last]
        var made = Self.coalesce(entries.lazy.map(\.frame), start: position, end: position + entries.count)
        made.isFull = last < self.log.count
        self.coalesced = made
        return made
    }

    static func coalesce(_ frames: some Collection<Frame>, start: Int, end: Int) -> CoalescedFrames {
        var lowest: Version?
        var highest: Version = 0
        var bytes = 0
        var isUnbroken = true
        for frame in frames {
            bytes += frame.bytes.readableBytes
            guard frame.isDurable else { continue }
            if lowest == nil { lowest = frame.version } else if frame.version != highest + 1 { isUnbroken = false }
            highest = frame.version
        }
        let versions = lowest.map { min($0, highest)...max($0, highest) }
        if frames.count == 1, let only = frames.first {
            return CoalescedFrames(start: start, end: end, buffer: only.bytes, versions: versions, isUnbroken: true)
        }
        var buffer = ByteBufferAllocator().buffer(capacity: bytes)
        #if DEBUG
        if InjectedFault.batchReversed.isPlanted {
            for frame in Array(frames).reversed() { buffer.writeImmutableBuffer(frame.bytes) }
            return CoalescedFrames(start: start, end: end, buffer: buffer, versions: versions, isUnbroken: isUnbroken)
        }
        #endif
        for frame in frames { buffer.writeImmutableBuffer(frame.bytes) }
        return CoalescedFrames(start: start, end: end, buffer: buffer, versions: versions, isUnbroken: isUnbroken)
    }
}
