import FlowCore
import FlowEmbedded
import FlowTestKit
import Testing

@testable import FlowRedis

@Suite(.serialized, .redis()) struct ContractTests {
    private static func services(_ body: (RedisServices) async throws -> Void) async throws {
        try await SharedRedis.flush()
        try await withServices(try SharedRedis.server.url) { try await body($0) }
    }

    @Test(arguments: EventBusContract.cases)
    func bus(_ promise: EventBusContract.Case) async throws { try await Self.services { try await promise.run($0.bus) } }

    @Test(arguments: ConnectionRegistryContract.cases)
    func registry(_ promise: ConnectionRegistryContract.Case) async throws {
        try await Self.services { try await promise.run($0.registry) }
    }

    @Test(arguments: LockServiceContract.cases)
    func locks(_ promise: LockServiceContract.Case) async throws {
        try await Self.services { try await promise.run($0.locks(fencing: CountingSequence())) }
    }

    @Test(arguments: PatternStoreContract.cases)
    func patterns(_ promise: PatternStoreContract.Case) async throws {
        try await Self.services { try await promise.run($0.patterns) }
    }

    @Test(arguments: TransientStoreContract.cases)
    func transients(_ promise: TransientStoreContract.Case) async throws {
        try await Self.services { services in
            try await promise.run(services.transients(local: MemoryTransientStore(), limits: .init(), seconds: 3_600))
        }
    }
}
