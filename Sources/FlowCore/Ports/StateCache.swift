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
    case cacheImportSampleHit = "cache:import_sample:hit"
    case cacheImportSampleMiss = "cache:import_sample:miss"
    case cacheSchemaAnalysisHit = "cache:schema_analysis:hit"
    case cacheSchemaAnalysisMiss = "cache:schema_analysis:miss"
    case r2PutSuccess = "r2:put:success"
    case r2PutFailure = "r2:put:failure"
    case r2PutBytes = "r2:put:bytes"
    case r2GetSuccess = "r2:get:success"
    case r2GetFailure = "r2:get:failure"
    case r2GetBytes = "r2:get:bytes"
    case r2HeadSuccess = "r2:head:success"
    case r2HeadFailure = "r2:head:failure"
    case r2HeadBytes = "r2:head:bytes"
    case r2DeleteSuccess = "r2:delete:success"
    case r2DeleteFailure = "r2:delete:failure"
    case r2DeleteBytes = "r2:delete:bytes"
    case r2ListSuccess = "r2:list:success"
    case r2ListFailure = "r2:list:failure"
    case r2ListBytes = "r2:list:bytes"
}
