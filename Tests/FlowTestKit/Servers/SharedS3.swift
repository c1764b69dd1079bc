public import Testing

/// One S3 server for all tests of a suite, gone after the last of them. Each test makes a bucket of its own.
public struct SharedS3: SuiteTrait, TestScoping {
    @TaskLocal private static var running: S3Server?

    public var isRecursive: Bool { false }

    /// The server of the suite that asks.
    public static var server: S3Server {
        get throws { try #require(Self.running, "the suite has no server: give it the trait .s3()") }
    }

    /// A new, empty bucket on it.
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
