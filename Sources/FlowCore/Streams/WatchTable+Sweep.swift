import Synchronization

/// The version sweep, changes of the epoch, and repeated requests for what was not read yet.
extension WatchTable {
    /// The last delivered version of each of these flows. Flows that are not watched, or whose watch is not open, are left
    /// out. To be called before the heads are read: see ``applySweep(_:heads:delivered:endedBefore:)``.
    public func deliveredVersions(of flows: [FlowID]) -> [FlowID: Version] {
        var versions: [FlowID: Version] = [:]
        for flow in flows {
            versions[flow] = self.stripe(of: flow).state.withLock { $0.watches[flow]?.sequencer.last }
        }
        return versions
    }

    /// Compares the heads that a version sweep has read with the delivered versions. Requests reads of the watched flows
    /// whose delivered version is below the store's, and of those whose watch is not open.
    /// - Parameters:
    ///   - flows: the flows whose heads were read; they need not be watched.
    ///   - heads: the heads of `flows`. A flow without one does not exist.
    ///   - delivered: the result of ``deliveredVersions(of:)`` from before `heads` were read. Events that were delivered
    ///     during the read may be above `heads`.
    ///   - endedBefore: the tombstone of a flow that was deleted before this time may have ended, and then has no head.
    /// - Returns: whether the store regressed: a flow's version is below what was delivered before the read.
    public func applySweep(
        _ flows: [FlowID], heads: [FlowHead], delivered: [FlowID: Version],
        endedBefore: Timestamp = Timestamp(milliseconds: .min)
    ) -> Bool {
        var versions: [FlowID: FlowHead] = [:]
        for head in heads { versions[head.flow] = head }
        var storeRegressed = false
        for flow in flows {
            let version = versions[flow]?.version ?? 0
            if let before = delivered[flow], version < before {
                let known = self.head(of: flow)
                let hasEnded = version == 0 && known?.isDeleted == true && known.map { $0.updatedAt < endedBefore } == true
                storeRegressed = storeRegressed || !hasEnded
                continue
            }
            let item: WorkItem? = self.stripe(of: flow).state.withLock { stripe in
                guard let watch = stripe.watches[flow] else { return nil }
                if !watch.isOpen {
                    guard !watch.isReading else { return nil }
                    watch.isReading = true
                    return .open(flow, watch.epoch)
                }
                return self.apply(watch.sequencer.sweepReported(version), to: watch, flow: flow, head: versions[flow])
            }
            if let item { self.enqueueWork(item) }
        }
        return storeRegressed
    }

    /// Adopts an epoch. Sends the sinks ``Delivery/reset(_:)``, replaces every watch by one that is not open, and requests
    /// the reads that open the new watches in this epoch. The subscriptions on the bus stay.
    public func reset(to epoch: Epoch) {
        // Before the watches are replaced: a sink must receive the epoch before a delivery from it. The sink ignores
        // deliveries of the old epoch that arrive later.
        self.broadcast(.reset(epoch))
        for stripe in self.stripes {
            let flows = stripe.state.withLock { stripe in
                stripe.epoch = epoch
                for (flow, watch) in stripe.watches {
                    let newWatch = Watch(sinks: watch.sinks, epoch: epoch)
                    newWatch.isReading = true
                    stripe.watches[flow] = newWatch
                }
                return Array(stripe.watches.keys)
            }
            for flow in flows { self.enqueueWork(.open(flow, epoch)) }
        }
    }

    /// Requests ``WorkItem/open(_:_:)`` for each flow for which a sink still waits for
    /// ``Delivery/opened(_:_:head:epoch:last:)``, unless one is in flight. Called every second.
    ///
    /// Normally ``subscribed(to:)`` requests the read that opens a watch. So this method skips a watch that is not open in
    /// the first call, to give the bus time to confirm its subscription to the flow. From the second call on it requests the
    /// read even without a confirmation; the version sweep then finds the events that the bus does not deliver.
    public func tick() {
        for stripe in self.stripes {
            let due = stripe.state.withLock { stripe in
                var due: [(FlowID, Epoch)] = []
                for (flow, watch) in stripe.watches where !watch.sinksAwaitingOpen.isEmpty && !watch.isReading {
                    watch.ticksUnconfirmed += 1
                    guard watch.isOpen || watch.ticksUnconfirmed > 1 else { continue }
                    watch.isReading = true
                    due.append((flow, watch.epoch))
                }
                return due
            }
            for (flow, epoch) in due { self.enqueueWork(.open(flow, epoch)) }
        }
    }
}
