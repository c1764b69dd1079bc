/// Usage counters by name and day. An implementation may share them between instances and keep them across restarts. Called
/// from any thread.
public protocol Counters: Sendable {
    /// Adds to a counter. Does not wait.
    func add(_ amount: Int, to counter: Counter)
    /// The totals of the current day (UTC), as far as this process knows them.
    func totals() -> [Counter: Int]
}

/// The counters. Raw values are part of keys in Redis, so no other names are allowed. Those of the
/// object store count successful and failed operations, and the bytes of objects that they wrote or read.
public enum Counter: String, Hashable, Sendable, CaseIterable {
    case cacheStateHit = "cache:state:hit"
    case cacheStateMiss = "cache:state:miss"
    case eventsDurable = "events:durable"
    case eventsTransient = "events:transient"
    case cacheImportSampleHit = "cache:import_sample:hit"
    case cacheImportSampleMiss = "cache:import_sample:miss"
    case cacheSchemaAnalysisHit = "cache:schema_analysis:hit"
    case cacheSchemaAnalysisMiss = "cache:schema_analysis:miss"
    case objectPutSuccess = "r2:put:success"
    case objectPutFailure = "r2:put:failure"
    case objectPutBytes = "r2:put:bytes"
    case objectGetSuccess = "r2:get:success"
    case objectGetFailure = "r2:get:failure"
    case objectGetBytes = "r2:get:bytes"
    case objectHeadSuccess = "r2:head:success"
    case objectHeadFailure = "r2:head:failure"
    case objectHeadBytes = "r2:head:bytes"
    case objectDeleteSuccess = "r2:delete:success"
    case objectDeleteFailure = "r2:delete:failure"
    case objectDeleteBytes = "r2:delete:bytes"
    case objectListSuccess = "r2:list:success"
    case objectListFailure = "r2:list:failure"
    case objectListBytes = "r2:list:bytes"
}
