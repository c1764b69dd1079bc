import Synchronization

/// What this process has done, for the metrics.
public struct ImportMetrics: Hashable, Sendable {
    public var stored = 0
    public var failed = 0
    public var records = 0
    /// Unpacked.
    public var bytes = 0
    public var swept = 0

    mutating func taken(records: Int, bytes: Int) {
        self.stored += 1
        self.records += records
        self.bytes += bytes
    }
}

extension ImportService {
    /// Of the object store; all zero where records are rows.
    public var objectFigures: ObjectStoreMetrics { (self.objects as? CountedObjectStore)?.figures ?? ObjectStoreMetrics() }

    public var figureValues: ImportMetrics { self.figures.withLock { $0 } }
}
