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
        guard self.history.awaitSnapshot(subscription, atLeast: version) else { return }
        let flow = self.flow
        let epoch = self.epoch
        self.shard.load { services in
            try await services.manager.record(of: flow, atLeast: version)
        } then: { [self] (record: FlowRecord??) in
            let waiters = self.history.takeSnapshotWaiters(atLeast: version)
            // A subscription that was moved to the absent view meanwhile loads again there.
            for waiter in waiters where !waiter.reader.hasEnded && waiter.fanout === self {
                if epoch != self.epoch || !self.isOpen {
                    // The loaded state belongs to a previous epoch. The readers continue when the fan-out is open in the new
                    // epoch.
                    waiter.loadFailed()
                } else if let record {
                    waiter.stream.sendSnapshot(record ?? self.absentRecord, for: waiter)
                } else {
                    // The read failed. The next tick repeats it: an immediate retry would flood a store that is unavailable.
                    waiter.loadFailed()
                    continue
                }
                waiter.stream.advanceReaders()
            }
        }
    }

    /// The snapshot event with the `id:` of a stream with one flow. Encoded once for all subscribers that are sent a snapshot of
    /// the same version.
    func snapshot(of record: FlowRecord) -> EncodedEvent {
        let transient = self.newestTransientNumber
        if record.version == self.version, let known = self.history.snapshot(at: record.version, transient: transient) {
            return known
        }
        // The stored flow may have a later version than this loop has received. If the flow has ended or was replaced in
        // between, the transient events are void.
        let isAhead = record.head.resetVersion > self.version
        let event = ControlEvent.snapshot(record, last: isAhead ? [] : self.transients.entries.map(\.event))
            .encoded(cursor: .flow(self.epoch, record.version))
        if record.version == self.version {
            self.history.keepSnapshot(event, at: record.version, transient: transient)
            self.shard.keep(event.block.size, in: self)
        }
        return event
    }

    /// The snapshot event in a form, with the `id:` of a stream with one flow.
    func snapshotBlock(of record: FlowRecord, form: BlockForm) -> StreamBlock {
        let event = self.snapshot(of: record)
        return self.history.block(of: event, at: record.version, transient: self.newestTransientNumber, form: form)
    }

    /// Sends the subscription the history page that starts after a version, from the recent frames or after a load.
    func requestPage(after version: Version, for subscription: Subscription) {
        let maximumBytes = self.shard.services.configuration.page.bytes
        if let frames = self.recent.page(after: version, maximumBytes: maximumBytes), let last = frames.last {
            let shared = subscription.stream.sharedForm.map {
                self.history.block(of: frames, after: version, through: last.version, form: $0)
            }
            subscription.stream.sendPage(Array(frames), shared: shared, storeHead: nil, for: subscription)
            return
        }
        if self.isAbsentView {
            subscription.stream.sendPage([], shared: nil, storeHead: 0, for: subscription)
            return
        }
        guard self.history.awaitPage(subscription, after: version) else { return }
        let flow = self.flow
        let epoch = self.epoch
        let limit = self.shard.services.configuration.page
        self.shard.load { services in
            try await services.manager.page(of: flow, after: version, limit: limit)
        } then: { [self] (page: EventPage?) in
            let waiters = self.history.takePageWaiters(after: version)
            let frames = (page?.events ?? []).map { Frame.durable($0, of: flow, epoch: epoch) }
            var blocks = PerForm<StreamBlock>()
            for waiter in waiters where !waiter.reader.hasEnded && waiter.fanout === self {
                if epoch != self.epoch || !self.isOpen {
                    waiter.loadFailed()
                } else if let page {
                    if let owner = page.head?.account, owner != waiter.stream.principal.account {
                        self.moveToAbsentView(waiter)
                        waiter.stream.advanceReaders()
                        continue
                    }
                    let shared =
                        frames.isEmpty
                        ? nil
                        : waiter.stream.sharedForm.map { form in
                            blocks.value(for: form) { StreamEncoder.block(of: frames, form: form) }
                        }
                    waiter.stream.sendPage(frames, shared: shared, storeHead: page.headVersion, for: waiter)
                } else {
                    waiter.loadFailed()
                    continue
                }
                waiter.stream.advanceReaders()
            }
        }
    }
}
