/// Flows in the memory of this process, so that reads need not ask the store. Called from any thread; never blocks.
public protocol StateCache: Sendable {
    /// The flow as cached; `nil` on a miss or if what is there is below `atLeast`.
    func record(of flow: FlowID, atLeast: Version) -> FlowRecord?
    /// Keeps the record unless a higher version is there already, or the epoch is not the cache's.
    func put(_ record: FlowRecord, epoch: Epoch)
    /// Drops the record, if it is below this version, and takes none that is from now on: the next reader asks the store.
    func remove(_ flow: FlowID, below version: Version)
    /// Drops everything and takes records of this epoch only from now on.
    func removeAll(epoch: Epoch)
    /// The flows that are cached with their versions: the version sweep looks after them.
    func versions() -> [FlowID: Version]
}

/// The latest transient event of each type, so that a newcomer need not wait for the next one.
public protocol TransientStore: Sendable {
    /// Does not wait. - Parameter version: the flow's version when the event was published.
    func record(_ event: TransientEvent, of flow: FlowID, at version: Version)
    /// What was published at or above `version`, in the order of publication.
    func latest(of flow: FlowID, since version: Version) async -> [TransientEvent]
    func removeAll()
}

/// Counts that are kept beyond the process, by name and day.
public protocol Counters: Sendable {
    func add(_ amount: Int, to counter: Counter)
    /// The totals of today (UTC), as far as this process knows them.
    func totals() -> [Counter: Int]
}

/// The allow-list of counters: a name is a key in a shared store, so nobody may make one up.
public enum Counter: String, Hashable, Sendable, CaseIterable {
    case cacheStateHit = "cache:state:hit"
    case cacheStateMiss = "cache:state:miss"
    case eventsDurable = "events:durable"
    case eventsTransient = "events:transient"
}
