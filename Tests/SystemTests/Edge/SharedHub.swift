import FlowCore
import FlowTestKit
import Testing

/// A trait that runs one hub for all tests of a suite and stops it after the last.
struct SharedHub: SuiteTrait, TestScoping {
    @TaskLocal private static var running: HubProcess?

    let environment: [String: String]
    var isRecursive: Bool { false }

    /// The hub of the current suite.
    static var hub: HubProcess {
        get throws { try #require(Self.running, "the suite has no hub: give it the trait .hub(…)") }
    }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        try await HubProcess.running(self.environment) { hub in
            try await Self.$running.withValue(hub) { try await function() }
        }
    }
}

extension Trait where Self == SharedHub {
    static func hub(_ environment: [String: String] = [:]) -> Self { SharedHub(environment: environment) }
}

/// Parses a JSON text.
func jsonText(_ text: String) throws -> JSONText { try JSONText(validating: Array(text.utf8)) }

extension HTTPReply {
    /// The stable code of a problem document.
    var problemCode: String? { self.json.member("code")?.stringValue }
}

extension HubProcess {
    /// Sends one request on a connection of its own.
    func call(
        _ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: String? = nil
    ) async throws -> HTTPReply {
        try await self.call(method, target, headers: headers, bytes: body.map { Array($0.utf8) })
    }

    func call(
        _ method: String, _ target: String, headers: [(name: String, value: String)] = [], bytes: [UInt8]?
    ) async throws -> HTTPReply {
        try await HTTPCaller(port: self.port).perform(HTTPCall(method, target, headers: headers, body: bytes))
    }

    /// Sends bytes unchanged on a connection of its own and waits for the first response. A failed send is ignored, because
    /// the hub may close the connection before it has read everything.
    func answer(to bytes: [UInt8], within timeout: Duration = .seconds(40)) async throws -> HTTPReply {
        let exchange = try await RawExchange.open(port: self.port)
        defer { exchange.close() }
        async let sent: Void? = try? exchange.send(bytes)
        let reply = try await exchange.replies(1, within: timeout)[0]
        exchange.close()
        _ = await sent
        return reply
    }
}
