/// Destination of the pages of an import: an object or rows. Pages are written in order. Used by one task.
protocol ImportSink: AnyObject {
    /// The encryption of what is written; `nil` if it is not encrypted.
    var pieces: ImportPieces? { get }
    /// Writes a page of records. Waits while the maximum number of pages is in flight.
    /// - Throws: ``ImportError``.
    func write(_ page: RecordPage) async throws
    /// Completes the object or the rows. Called once, after the import's last page, which must have been closed.
    func finish() async throws -> SinkResult
    /// Deletes everything that was written.
    /// - Returns: `false` if an object or an unfinished upload may remain, which the import sweep must delete. Remaining
    ///   rows do not count: ``ImportLedger/fail(_:claim:reason:)`` deletes them.
    @discardableResult
    func abort() async -> Bool
}

/// What a sink has stored.
struct SinkResult {
    /// Bucket of the object; `nil` for rows.
    var bucket: String?
    /// Size of the object, or of the uncompressed document for rows.
    var storedBytes: Int
    /// SHA-256 of the object in hexadecimal; `nil` for rows.
    var dataHash: String?
    /// The gzip member index of the object; `nil` for rows.
    var index: GzipMemberIndex?
}
