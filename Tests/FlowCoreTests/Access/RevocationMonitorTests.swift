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
            store: store, keepSeconds: 0, now: { Timestamp(milliseconds: 0) }, logger: Logger(label: "test"),
            added: { list in reported.withLock { $0.append(list) } })
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
        let monitor = RevocationMonitor(
            store: store, keepSeconds: 0, now: { Timestamp(milliseconds: 0) }, logger: Logger(label: "test"), added: { _ in })
        async let early = monitor.refresh()
        while store.waiting < 1 { await Task.yield() }
        monitor.add(Self.revocation("anna", 100))
        store.answer(0, [])
        #expect(await early)
        #expect(monitor.isRevoked(Self.principal("anna", issuedAt: 99)))
    }

    @Test func dropsRevocationsWhoseTokensHaveExpired() async throws {
        let store = FakeStore()
        let now = Mutex(Timestamp(milliseconds: 1_000_000))
        let monitor = RevocationMonitor(
            store: store, keepSeconds: 600, now: { now.withLock { $0 } }, logger: Logger(label: "test"), added: { _ in })
        monitor.add(Self.revocation("anna", 400))
        monitor.add(Self.revocation("ben", 401))
        for (index, milliseconds) in [Int64(1_000_000), 1_001_000].enumerated() {
            now.withLock { $0 = Timestamp(milliseconds: milliseconds) }
            async let read = monitor.refresh()
            while store.waiting <= index { await Task.yield() }
            store.answer(index, [])
            #expect(await read)
            #expect(monitor.status.count == 2 - index)
        }
    }

    @Test func expiredRevocationsInTheStoreAreNotAnnounced() async throws {
        let store = FakeStore()
        let reported = Mutex<[RevocationList]>([])
        let monitor = RevocationMonitor(
            store: store, keepSeconds: 600, now: { Timestamp(milliseconds: 1_000_000) }, logger: Logger(label: "test"),
            added: { list in reported.withLock { $0.append(list) } })
        for index in 0..<3 {
            async let read = monitor.refresh()
            while store.waiting <= index { await Task.yield() }
            store.answer(index, [Self.revocation("anna", 399), Self.revocation("ben", 400)])
            #expect(await read)
        }
        #expect(reported.withLock { $0 } == [RevocationList([Self.revocation("ben", 400)])])
        #expect(monitor.status.count == 1)
    }
}
