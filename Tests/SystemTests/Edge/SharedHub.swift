import FlowCore
import FlowTestKit
import Testing

/// One hub for all tests of a suite, gone after the last of them.
struct SharedHub: SuiteTrait, TestScoping {
    @TaskLocal private static var running: HubProcess?

    let environment: [String: String]
    var isRecursive: Bool { false }

    /// The hub of the suite that asks.
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

/// JSON from its text.
func jsonText(_ text: String) throws -> JSONText { try JSONText(validating: Array(text.utf8)) }

extension HTTPReply {
    /// The stable code of a problem document.
    var problemCode: String? { self.json.member("code")?.stringValue }
}

extension HubProcess {
    /// One request by itself.
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

    /// Sends bytes as they are and waits for the first answer. What cannot be sent any more, because the hub has closed, is no
    /// error: the answer counts.
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
