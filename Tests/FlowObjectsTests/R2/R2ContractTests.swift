import FlowCore
import FlowTestKit
import Testing

@testable import FlowObjects

@Suite(.serialized, .s3()) struct R2ContractTests {
    /// What the proxy before the server has a hand in; in a full run everything.
    private static let whatDiffers = ObjectStoreContract.cases.filter { promise in
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

    /// A store that keeps uploads after a failed condition, and that knows no lifecycle rules. It looks at conditions without a
    /// lock, so that several may win a race.
    @Test(arguments: Self.whatDiffers) func meetsContractOnOtherS3Server(
        _ promise: ObjectStoreContract.Case
    ) async throws {
        let bucket = try await SharedS3.bucket()
        try await Self.run(promise, try SharedS3.server.endpoint, bucket.name, hasLifecycle: false)
    }
}
