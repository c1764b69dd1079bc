import FlowCore
import FlowEmbedded
import FlowTestKit
import Logging
import Synchronization
import Testing

@Suite struct SQLiteContractTests {
    @Test(arguments: FlowStoreContract.cases)
    func storeMeetsContract(_ promise: FlowStoreContract.Case) async throws {
        try await withTemporaryFolder { folder in
            let current = try CurrentStore(folder)
            do {
                try await promise.run(current.subject)
            } catch {
                await current.value.close()
                throw error
            }
            await current.value.close()
        }
    }

    @Test(arguments: TaskLedgerContract.cases)
    func taskLedgerMeetsContract(_ promise: TaskLedgerContract.Case) async throws {
        try await withStore { store, _ in try await promise.run(store) }
    }

    @Test(arguments: StateCacheContract.cases)
    func cacheMeetsContract(_ promise: StateCacheContract.Case) async throws { try await promise.run(MemoryStateCache()) }

    @Test(arguments: LockServiceContract.cases)
    func locksMeetContract(_ promise: LockServiceContract.Case) async throws {
        try await promise.run(MemoryLockService(fencing: CountingSequence(), limits: LockServiceContract.limits))
    }

    @Test(arguments: MappingPatternStoreContract.cases)
    func patternsMeetContract(_ promise: MappingPatternStoreContract.Case) async throws {
        let clock = ContinuousClock()
        let began = clock.now
        try await promise.run(
            MemoryMappingPatternStore(limits: MappingPatternStoreContract.limits) {
                Timestamp(milliseconds: Int64((clock.now - began) / .milliseconds(1)))
            })
    }

    @Test(arguments: ConnectionRegistryContract.cases)
    func registryMeetsContract(_ promise: ConnectionRegistryContract.Case) async throws {
        try await promise.run(MemoryConnectionRegistry())
    }

    @Test(arguments: TransientStoreContract.cases)
    func transientsMeetContract(_ promise: TransientStoreContract.Case) async throws {
        try await promise.run(MemoryTransientStore())
    }

    @Test(arguments: EventBusContract.cases)
    func busMeetsContract(_ promise: EventBusContract.Case) async throws { try await promise.run(InProcessBus()) }
}

/// A fencing sequence without a store.
final class CountingSequence: FencingSequence {
    private let last = Atomic<Int64>(0)

    func nextFencingToken() async throws(StoreError) -> Int64 { self.last.add(1, ordering: .relaxed).newValue }
}
