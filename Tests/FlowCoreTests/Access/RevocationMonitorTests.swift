import Logging
import Synchronization
import Testing

@testable import FlowCore

@Suite struct RevocationMonitorTests {
    /// A store whose reads the test answers one by one.
    private final class FakeStore: RevocationStore {
        private let reads = Mutex<[CheckedContinuation<[Revocation], Never>]>([])
        let readCount = Atomic<Int>(0)

        func revoke(_ revocation: Revocation, now: Timestamp) async throws(StoreError) -> RevocationOutcome {
            .stored(revocation)
        }

        func revocations() async throws(StoreError) -> [Revocation] {
            self.readCount.add(1, ordering: .relaxed)
            return await withCheckedContinuation { read in self.reads.withLock { $0.append(read) } }
        }

        var waiting: Int { self.reads.withLock { $0.count } }

        func answer(_ index: Int, _ revocations: [Revocation]) {
            self.reads.withLock { $0[index] }.resume(returning: revocations)
        }
    }

    private static func principal(_ subject: String, issuedAt: Int64) -> Principal {
        Principal(
            account: "7", subject: subject, subscribe: [], publish: [], scopes: [], issuedAt: issuedAt, expiresAt: nil)
    }

    private static func revocation(_ subject: String, _ notBefore: Int64) -> Revocation {
        Revocation(account: "7", subject: subject, notBefore: notBefore)
    }

    @Test func addingReadsNothingAndReportsOnlyTheNewRevocation() {
        let store = FakeStore()
        let reported = Mutex<[RevocationList]>([])
        let monitor = RevocationMonitor(
            store: store, logger: Logger(label: "test"), added: { list in reported.withLock { $0.append(list) } })
        for number in 0..<1_000 { monitor.add(Self.revocation("s\(number)", 100)) }
        monitor.add(Self.revocation("s0", 50))
        #expect(store.readCount.load(ordering: .relaxed) == 0)
        #expect(reported.withLock { $0.map(\.count) } == Array(repeating: 1, count: 1_000))
        #expect(monitor.isRevoked(Self.principal("s999", issuedAt: 99)))
        #expect(!monitor.isRevoked(Self.principal("s999", issuedAt: 100)))
        #expect(monitor.status.count == 1_000)
    }

    @Test func readThatStartedBeforeRevocationDoesNotUndoIt() async throws {
        let store = FakeStore()
        let monitor = RevocationMonitor(store: store, logger: Logger(label: "test"), added: { _ in })
        async let early = monitor.refresh()
        while store.waiting < 1 { await Task.yield() }
        monitor.add(Self.revocation("anna", 100))
        store.answer(0, [])
        #expect(await early)
        #expect(monitor.isRevoked(Self.principal("anna", issuedAt: 99)))
    }

    /// Starts a read, and waits until the store has it.
    private static func read(_ monitor: RevocationMonitor, _ store: FakeStore, number: Int) async -> Task<Bool, Never> {
        let read = Task { await monitor.refresh() }
        while store.waiting < number { await Task.yield() }
        return read
    }

    @Test func dropsWhatTheStoreHasDeleted() async throws {
        let store = FakeStore()
        let reported = Mutex<[RevocationList]>([])
        let monitor = RevocationMonitor(
            store: store, logger: Logger(label: "test"), added: { list in reported.withLock { $0.append(list) } })
        let (anna, ben) = (Self.revocation("anna", 400), Self.revocation("ben", 401))
        for (index, found) in [[anna, ben], [anna, ben], [ben]].enumerated() {
            let read = await Self.read(monitor, store, number: index + 1)
            store.answer(index, found)
            #expect(await read.value)
            #expect(monitor.status.count == found.count)
        }
        #expect(!monitor.isRevoked(Self.principal("anna", issuedAt: 1)))
        #expect(monitor.isRevoked(Self.principal("ben", issuedAt: 1)))
        #expect(reported.withLock { $0 } == [RevocationList([anna, ben])], "they are announced once")
    }

    @Test func earlierReadDropsNothingThatLaterOneFound() async throws {
        let store = FakeStore()
        let monitor = RevocationMonitor(store: store, logger: Logger(label: "test"), added: { _ in })
        let early = await Self.read(monitor, store, number: 1)
        let late = await Self.read(monitor, store, number: 2)
        store.answer(1, [Self.revocation("anna", 100)])
        #expect(await late.value)
        store.answer(0, [])
        #expect(await early.value)
        #expect(monitor.isRevoked(Self.principal("anna", issuedAt: 99)))
    }
}
