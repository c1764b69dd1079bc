public import Testing

/// A suite trait that runs one PostgreSQL server for all tests of the suite.
public struct SharedPostgres: SuiteTrait, TestScoping {
    @TaskLocal private static var running: PostgresServer?

    let options: [String]
    public var isRecursive: Bool { false }

    /// The server of the current suite.
    public static var server: PostgresServer {
        get throws { try #require(Self.running, "the suite has no server: give it the trait .postgres()") }
    }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        try await PostgresServer.running(options: self.options) { server in
            try await Self.$running.withValue(server) { try await function() }
        }
    }
}

extension Trait where Self == SharedPostgres {
    public static func postgres(options: [String] = []) -> Self { SharedPostgres(options: options) }
}
