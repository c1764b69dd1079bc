import FlowCore
import NIOCore

/// Snapshots and history pages for subscriptions that are not live: from memory if possible, else from the store. Subscriptions
/// that need the same data share one load.
extension FlowFanout {
    /// Sends the subscription a snapshot at ``minimumSnapshotVersion`` or above, from memory or after a load.
    func requestSnapshot(for subscription: Subscription) {
        let version = self.minimumSnapshotVersion
        if let record = self.currentRecord(atLeast: version) {
            subscription.stream.sendSnapshot(record, for: subscription)
            return
        }
        self.snapshotWaiters[version, default: []].append(subscription)
        guard self.snapshotWaiters[version]?.count == 1 else { return }
        let flow = self.flow
        let epoch = self.epoch
        self.shard.load { services in
            try await services.manager.record(of: flow, atLeast: version)
        } then: { [self] (record: FlowRecord??) in
            let waiters = self.snapshotWaiters.removeValue(forKey: version) ?? []
            // A subscription that was moved to the absent view meanwhile loads again there.
            for waiter in waiters where !waiter.reader.hasEnded && waiter.fanout === self {
                if epoch != self.epoch || !self.isOpen {
                    // The loaded state belongs to a previous epoch. The readers continue when the fan-out is open in the new
                    // epoch.
                    waiter.reader.loadFailed()
                } else if let record {
                    waiter.stream.sendSnapshot(record ?? self.absentRecord, for: waiter)
                } else {
                    // The read failed. The next tick repeats it: an immediate retry would flood a store that is unavailable.
                    waiter.reader.loadFailed()
                    continue
                }
                waiter.stream.advanceReaders()
            }
        }
    }

    /// The snapshot event as a block without its `id:` line. Encoded once for all subscribers that are sent a snapshot of the
    /// same version.
    func snapshotBody(of record: FlowRecord) -> ByteBuffer {
        if let snapshot = self.snapshot, snapshot.version == record.version, snapshot.transient == self.newestTransientNumber,
            record.version == self.version
        {
            return snapshot.block
        }
        var block = ByteBufferAllocator().buffer(capacity: record.state.bytes.count + 256)
        // The stored flow may have a later version than this loop has received. If the flow has ended or was replaced in
        // between, the transient events are void.
        let isAhead = record.head.resetVersion > self.version
        block.writeSnapshot(record, last: isAhead ? [] : self.transients.entries.map(\.event))
        if record.version == self.version {
            self.snapshot = (record.version, self.newestTransientNumber, block)
            self.shard.keep(block.readableBytes, in: self)
        }
        return block
    }

    /// Sends the subscription the history page that starts after a version, from the recent frames or after a load.
    func requestPage(after version: Version, for subscription: Subscription) {
        let maximumBytes = self.shard.services.configuration.page.bytes
        if let frames = self.recent.page(after: version, maximumBytes: maximumBytes), let last = frames.last {
            let page: CoalescedFrames
            if let cached = self.page, cached.start == Int(version), cached.end == Int(last.version) {
                page = cached
            } else {
                page = Self.coalesce(frames, start: Int(version), end: Int(last.version))
                self.page = page
            }
            subscription.stream.sendPage(Array(frames), coalesced: page, storeHead: nil, for: subscription)
            return
        }
        if self.isAbsentView {
            subscription.stream.sendPage([], coalesced: nil, storeHead: 0, for: subscription)
            return
        }
        self.pageWaiters[version, default: []].append(subscription)
        guard self.pageWaiters[version]?.count == 1 else { return }
        let flow = self.flow
        let epoch = self.epoch
        let limit = self.shard.services.configuration.page
        self.shard.load { services in
            try await services.manager.page(of: flow, after: version, limit: limit)
        } then: { [self] (page: EventPage?) in
            let waiters = self.pageWaiters.removeValue(forKey: version) ?? []
            let frames = (page?.events ?? []).map { Frame.durable($0, of: flow, epoch: epoch) }
            let coalesced = frames.last.map { Self.coalesce(frames, start: Int(version), end: Int($0.version)) }
            for waiter in waiters where !waiter.reader.hasEnded && waiter.fanout === self {
                if epoch != self.epoch || !self.isOpen {
                    waiter.reader.loadFailed()
                } else if let page {
                    if let owner = page.head?.account, owner != waiter.stream.principal.account {
                        self.moveToAbsentView(waiter)
                        waiter.stream.advanceReaders()
                        continue
                    }
                    waiter.stream.sendPage(frames, coalesced: coalesced, storeHead: page.headVersion, for: waiter)
                } else {
                    waiter.reader.loadFailed()
                    continue
                }
                waiter.stream.advanceReaders()
            }
        }
    }
}
