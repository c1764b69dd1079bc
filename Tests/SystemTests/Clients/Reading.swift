import FlowCore
import FlowTestKit
import Foundation

/// An event as a client has reported it.
struct ReaderEvent: Sendable, CustomStringConvertible {
    var type: String
    var id: String?
    var data: String
    /// Unix time of the report in the client, in seconds.
    var at: Double

    var description: String { "\(self.type) \(self.id ?? "without id") \(self.data.prefix(300))" }
}

/// A stream that a client follows, over all its connections.
final class Reading: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private struct State: Sendable {
        var events: [ReaderEvent] = []
        var failure: String?
        /// Number of events that ``next(within:)`` has returned or skipped.
        var read = 0
    }

    private let state = AsyncValue(State())

    func append(_ event: ReaderEvent) { self.state.change { $0.events.append(event) } }
    func fail(_ text: String) { self.state.change { $0.failure = $0.failure ?? text } }

    /// How long a client on a busy machine may take to report an event. No other event is published before, so a client that holds
    /// the event back until the next one never reports it.
    static let patience = Duration.seconds(10)

    /// The next event that the client reports, heartbeats excepted.
    /// - Throws: ``Failure`` if the client has given up, or ``TimedOut``.
    func next(_ what: String, within timeout: Duration = Reading.patience) async throws -> ReaderEvent {
        let (found, read): (Result<ReaderEvent, Failure>, Int) = try await self.state.wait(for: what, within: timeout) { state in
            for index in state.read..<state.events.count where state.events[index].type != "heartbeat" {
                return (.success(state.events[index]), index + 1)
            }
            return state.failure.map { (.failure(Failure(description: "\(what): \($0)")), state.events.count) }
        }
        self.state.change { $0.read = read }
        return try found.get()
    }
}

/// A running client. It follows any number of streams at the same time.
protocol StreamReader: Sendable {
    /// Follows a URL until ``end()``.
    func read(_ name: String, _ url: String) async throws -> Reading
    /// Ends the client with all it started.
    func end() async
    /// What the client has written to its error output.
    var errors: String { get }
}
