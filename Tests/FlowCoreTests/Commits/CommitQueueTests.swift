import FlowCore
import Testing

@Suite struct CommitQueueTests {
    private static func deletion(_ flow: String, account: String) throws -> FlowChange {
        FlowChange(
            flow: try #require(FlowID(flow)), account: account, body: .delete, at: Timestamp(milliseconds: 0))
    }

    @Test func deletionsOfOneAccountDelayAnothersChangeByOneBatchAtMost() async throws {
        let many = try (0..<10_000).map { try Self.deletion("f\($0)", account: "1") }
        let other = try Self.deletion("other", account: "2")
        _ = await withCheckedContinuation { (continuation: PendingChange.Continuation) in
            var queue = CommitQueue(batchChanges: 512, batchBytes: 1_048_576)
            for change in many { _ = queue.add(PendingChange(change: change, continuation: continuation)) }
            let first = queue.nextBatch { _ in 0 }
            #expect(first.count == 512)
            _ = queue.add(PendingChange(change: other, continuation: continuation))
            let second = queue.nextBatch { _ in 0 }
            #expect(second.count == 512)
            #expect(second.contains { $0.change.account == "2" })
            // Nobody waits for these changes: one continuation stands for all of them.
            continuation.resume(returning: .failure(.unavailable("test")))
        }
    }
}
