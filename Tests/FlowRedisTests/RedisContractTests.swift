import FlowCore
import FlowEmbedded
import FlowTestKit
import Testing

@testable import FlowRedis

@Suite(.serialized, .redis()) struct RedisContractTests {
    private static func services(_ body: (RedisServices) async throws -> Void) async throws {
        try await SharedRedis.flush()
        try await withServices(try SharedRedis.server.url) { configuration, _ in
            configuration.locks = LockServiceContract.limits
            configuration.patterns = MappingPatternStoreContract.limits
        } _: {
            try await body($0)
        }
    }

    @Test(arguments: EventBusContract.cases)
    func busMeetsContract(_ promise: EventBusContract.Case) async throws {
        try await Self.services { try await promise.run($0.bus) }
    }

    @Test(arguments: ConnectionRegistryContract.cases)
    func registryMeetsContract(_ promise: ConnectionRegistryContract.Case) async throws {
        try await Self.services { try await promise.run($0.registry) }
    }

    @Test(arguments: LockServiceContract.cases)
    func locksMeetContract(_ promise: LockServiceContract.Case) async throws {
        try await Self.services { try await promise.run($0.locks(fencing: CountingSequence())) }
    }

    @Test(arguments: MappingPatternStoreContract.cases)
    func patternsMeetContract(_ promise: MappingPatternStoreContract.Case) async throws {
        try await Self.services { try await promise.run($0.patterns) }
    }

    @Test(arguments: TransientStoreContract.cases)
    func transientsMeetContract(_ promise: TransientStoreContract.Case) async throws {
        try await SharedRedis.flush()
        let epochs = CurrentEpoch()
        try await withServices(try SharedRedis.server.url, epochs: epochs) { services in
            let store = services.transients(local: MemoryTransientStore(), limits: .init(), seconds: 3_600)
            try await promise.run(UnderNewEpoch(store: store) { epochs.raise() })
        }
    }
}

/// The store raises the epoch when it removes everything; by that, the events in Redis become invalid.
private struct UnderNewEpoch: TransientStore {
    let store: RedisTransientStore
    let raise: @Sendable () -> Void

    func record(_ event: TransientEvent, of flow: FlowID, at version: Version) { self.store.record(event, of: flow, at: version) }
    func latest(of flow: FlowID, since version: Version) async -> [TransientEvent] {
        await self.store.latest(of: flow, since: version)
    }
    func removeAll() {
        self.raise()
        self.store.removeAll()
    }
}
