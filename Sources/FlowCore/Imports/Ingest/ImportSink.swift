/// Where the pages of an import go, one after the other. Used by one task.
protocol ImportSink: AnyObject {
    /// Takes a page; waits while as much as may is under way.
    func take(_ page: RecordPage) async throws
    /// All pages are in; the last one was closed.
    func finish() async throws -> SinkResult
    /// Nothing of it is to remain.
    /// - Returns: whether that is certain for all that the ledger does not remove by itself.
    @discardableResult
    func abort() async -> Bool
}

struct SinkResult {
    var bucket: String?
    var storedBytes: Int
    var dataHash: String?
    var index: GzipMemberIndex?
}
