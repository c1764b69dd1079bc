public import Testing

/// A suite trait that runs one Redis server for all tests of the suite.
public struct SharedRedis: SuiteTrait, TestScoping {
    @TaskLocal private static var running: RedisServer?

    let options: [String]
    public var isRecursive: Bool { false }

    /// The server of the current suite.
    public static var server: RedisServer {
        get throws { try #require(Self.running, "the suite has no server: give it the trait .redis()") }
    }

    /// Deletes all data of the suite's server.
    public static func flush() async throws { try await Self.server.flush() }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        try await RedisServer.running(options: self.options) { server in
            try await Self.$running.withValue(server) { try await function() }
        }
    }
}

extension Trait where Self == SharedRedis {
    public static func redis(options: [String] = []) -> Self { SharedRedis(options: options) }
}
