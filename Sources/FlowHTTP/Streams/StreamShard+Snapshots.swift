import FlowCore

/// The memory of states and encoded snapshots that the fan-outs of an event loop keep for new subscribers. The cache of flow states
/// does not count them: each event loop has its own.
extension StreamShard {
    /// Ticks after which a fan-out drops a state and a snapshot that no subscriber has needed.
    static let idleSnapshotTicks = 10

    /// Counts bytes that a fan-out keeps from now on. If all fan-outs of the loop keep more than their limit, the others drop
    /// theirs: they read the state again when a new subscriber needs it.
    func keep(_ bytes: Int, in fanout: FlowFanout) {
        self.keptBytes += bytes
        guard self.keptBytes > self.services.snapshotBytesPerLoop else { return }
        for other in self.fanouts.values where other !== fanout { other.dropSnapshot() }
        self.keptBytes = fanout.keptBytes
    }

    /// Drops the states and snapshots that were not needed for a while. Called every second.
    func dropIdleSnapshots() {
        var bytes = 0
        for fanout in self.fanouts.values {
            fanout.ageSnapshot()
            bytes += fanout.keptBytes
        }
        self.keptBytes = bytes
    }
}
