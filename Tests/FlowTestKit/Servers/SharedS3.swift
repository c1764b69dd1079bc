public import Testing

/// A suite trait that runs one S3 server for all tests of the suite. Each test creates its own bucket.
public struct SharedS3: SuiteTrait, TestScoping {
    @TaskLocal private static var running: S3Server?

    public var isRecursive: Bool { false }

    /// The server of the current suite.
    public static var server: S3Server {
        get throws { try #require(Self.running, "the suite has no server: give it the trait .s3()") }
    }

    /// Creates an empty bucket on the suite's server.
    public static func bucket() async throws -> S3Bucket { try await Self.server.createBucket() }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        try await S3Server.running { server in
            try await Self.$running.withValue(server) { try await function() }
        }
    }
}

extension Trait where Self == SharedS3 {
    public static func s3() -> Self { SharedS3() }
}
