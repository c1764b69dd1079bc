import Synchronization

/// Counters of the imports of this process since its start.
public struct ImportMetrics: Hashable, Sendable {
    public var stored = 0
    public var failed = 0
    public var records = 0
    /// Uncompressed bytes of the stored documents.
    public var bytes = 0
    /// Interrupted imports that were swept.
    public var swept = 0

    mutating func countStored(records: Int, bytes: Int) {
        self.stored += 1
        self.records += records
        self.bytes += bytes
    }
}

extension ImportService {
    /// Metrics of the object store; all zero if records are stored as rows.
    public var objectStoreMetrics: ObjectStoreMetrics { (self.objects as? CountedObjectStore)?.metrics ?? ObjectStoreMetrics() }

    public var metrics: ImportMetrics { self.metricsState.withLock { $0 } }
}
