import FlowTestKit
import Testing

/// A client that gives up its streams and opens new ones at once, as a page that renders too often, or a development server
/// that reloads it.
@Suite(.serialized) struct ReopeningTests {
    private static let environment = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_CONNECTIONS_PER_SUBJECT": "100"]

    /// - Parameter kept: streams of the same subject that stay open; 99 leave room for one.
    @Test(arguments: [0, 99])
    func subjectThatReopens500TimesIsNotLockedOut(_ kept: Int) async throws {
        try await HubProcess.running(Self.environment) { hub in
            let target = StreamTarget.flow("f").with { $0.headers = [TestToken().header] }
            func stream(_ name: String, reads: Bool = true) -> EventStreamClient {
                EventStreamClient(target, port: hub.port, name: name, options: .init(reads: reads))
            }
            let others = (0..<kept).map { stream("kept \($0)") }
            for other in others {
                try await other.connect()
                _ = try await other.next(event: "caught_up")
            }
            let clock = ContinuousClock()
            let start = clock.now
            for number in 0..<500 {
                // Before the response, after its head, and after an event; with an orderly end and with a reset.
                let aborted = stream("stream \(number)", reads: number % 3 != 0)
                try await aborted.connect()
                if number % 3 == 2 { _ = try await aborted.next("an event") { $0.data != nil } }
                if number % 2 == 0 { aborted.disconnect() } else { aborted.reset() }
            }
            #expect(clock.now - start < .seconds(5), "500 streams were to be reopened within five seconds")
            try await eventually("a stream after 500 that were aborted", within: .seconds(1)) {
                let reopened = stream("reopened")
                try await reopened.connect()
                return try await reopened.next("an event") { $0.data != nil }.event == "snapshot"
            }
            for other in others { #expect(other.isConnected) }
            try await eventually("the aborted streams to be uncounted", within: .seconds(1)) {
                try await hub.api.metric("flowhub_connections") ?? 0 <= Double(kept + 1)
            }
        }
    }
}
