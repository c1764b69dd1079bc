import Synchronization

/// Counters of the imports of this process since its start.
public struct ImportMetrics: Hashable, Sendable {
    /// Imports that were stored.
    public var stored = 0
    /// Those of the stored imports whose records are in an object; the others are rows.
    public var storedAsObjects = 0
    /// Imports whose ingestion failed.
    public var failed = 0
    /// Imports that were stored encrypted.
    public var encrypted = 0
    /// Records of the imports that were stored.
    public var records = 0
    /// Uncompressed bytes of the stored documents.
    public var bytes = 0
    /// Interrupted imports that were cleaned up: marked failed, or deleted if a deletion was interrupted.
    public var swept = 0

    /// Counts one import that was stored.
    /// - Parameter bytes: uncompressed size of its document.
    mutating func countStored(records: Int, bytes: Int, isObject: Bool, isEncrypted: Bool) {
        self.stored += 1
        if isObject { self.storedAsObjects += 1 }
        if isEncrypted { self.encrypted += 1 }
        self.records += records
        self.bytes += bytes
    }
}

extension ImportService {
    /// Metrics of the object store; all zero if none is configured.
    public var objectStoreMetrics: ObjectStoreMetrics { (self.objects as? CountedObjectStore)?.metrics ?? ObjectStoreMetrics() }

    /// The current counters of the imports of this process.
    public var metrics: ImportMetrics { self.metricsState.withLock { $0 } }
}
