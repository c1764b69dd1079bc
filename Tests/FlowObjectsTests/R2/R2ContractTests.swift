import FlowCore
import FlowTestKit
import Testing

@testable import FlowObjects

@Suite(.serialized, .s3()) struct R2ContractTests {
    /// Cases in which servers differ; in a full run all cases that do not depend on races.
    private static let differingCases = ObjectStoreContract.cases.filter { promise in
        !promise.name.hasPrefix("exactly one of ")
            && TestScale.pick(
                ["an existing object", "lifecycle", "unfinished"].contains { promise.name.hasPrefix($0) }, full: true)
    }

    private static func run(
        _ promise: ObjectStoreContract.Case, _ endpoint: String, _ bucket: String, hasLifecycle: Bool
    ) async throws {
        try await TestStore.running(try TestStore.settings(endpoint, bucket)) { store in
            try await promise.run(
                ObjectStoreContract.Subject(
                    store: store, maintenance: store, partBytes: TestStore.partBytes, hasLinks: true, hasLifecycle: hasLifecycle)
            )
        }
    }

    @Test(arguments: ObjectStoreContract.cases) func meetsContractOnR2(_ promise: ObjectStoreContract.Case) async throws {
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            try await Self.run(promise, proxy.endpoint, bucket.name, hasLifecycle: true)
            #expect(!proxy.requests.isEmpty)
        }
    }

    /// A server that keeps uploads after a failed condition and has no lifecycle rules. It checks conditions without a
    /// lock, so that several uploads may win a race.
    @Test(arguments: Self.differingCases) func meetsContractOnOtherS3Server(
        _ promise: ObjectStoreContract.Case
    ) async throws {
        let bucket = try await SharedS3.bucket()
        try await Self.run(promise, try SharedS3.server.endpoint, bucket.name, hasLifecycle: false)
    }
}
