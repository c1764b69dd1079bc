import FlowCore
import FlowEmbedded
import FlowTestKit
import Testing

/// The contracts detect stores and caches with a defect.
@Suite struct ContractFaultTests {
    @Test func contractDetectsMissingTombstone() async {
        await self.expectDetected(.tombstoneOff, by: "a re-created flow continues its versions, for the same account only")
    }

    @Test func contractDetectsAcknowledgementBeforeCommit() async {
        await self.expectDetected(.earlyAcknowledgement, by: "state, history and epoch survive closing and reopening")
    }

    @Test func contractDetectsCacheVersionRegression() async {
        await withKnownIssue {
            guard let promise = StateCacheContract.cases.first(where: { $0.name == "a version never decreases" }) else { return }
            try await promise.run(FaultyStateCache())
        }
    }

    private func expectDetected(_ fault: FaultyFlowStore.Fault, by name: String) async {
        await withKnownIssue {
            // Not `#require`: its failure for a wrong name would count as a detected fault.
            guard let promise = FlowStoreContract.cases.first(where: { $0.name == name }) else { return }
            try await withTemporaryFolder { folder in
                let current = try CurrentStore(folder)
                var subject = current.subject
                subject.store = FaultyFlowStore(subject.store, fault, folder: folder)
                do {
                    try await promise.run(subject)
                } catch {
                    await current.value.close()
                    throw error
                }
                await current.value.close()
            }
        }
    }
}
