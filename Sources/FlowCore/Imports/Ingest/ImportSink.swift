/// Destination of the pages of an import: an object or rows. Pages are written in order. Used by one task.
protocol ImportSink: AnyObject {
    /// Writes a page. Waits while the maximum number of pages is in flight.
    func write(_ page: RecordPage) async throws
    /// Completes the writing after the last page, which must be closed.
    func finish() async throws -> SinkResult
    /// Deletes everything that was written.
    /// - Returns: `false` if something may remain that the ledger does not delete by itself.
    @discardableResult
    func abort() async -> Bool
}

/// What a sink has stored.
struct SinkResult {
    var bucket: String?
    var storedBytes: Int
    var dataHash: String?
    var index: GzipMemberIndex?
}
