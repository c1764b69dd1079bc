import AsyncHTTPClient
import FlowCore
import NIOCore
import NIOHTTP1

/// Follows flows, on one stream at a time: connects, reads events, and reconnects with the cursor when the stream ends,
/// until all flows have ended or the hub says not to reconnect.
struct Watcher {
    /// Something to show: an event, or a change of the connection.
    enum Notice {
        /// The hub has answered the request with a stream. `cursor`: the position after which the stream continues; empty for a
        /// new subscriber.
        case connected(cursor: String)
        /// An event of the stream.
        case event(ServerEvent)
        /// The connection failed or was lost, or the hub temporarily rejected the stream. The next attempt follows after
        /// `nextInMilliseconds`.
        case lost(reason: String, nextInMilliseconds: Int)
    }

    /// Why the watcher has stopped following the flows.
    enum Ending {
        /// The hub has no further events: it answered 204, or closed every flow with `reconnect: false`.
        case closed
        /// Every flow is terminal. Only returned if `endsWhenFinished` is set.
        case finished
    }

    let client: HubClient
    let target: String
    let endsWhenFinished: Bool
    /// Seconds without a working connection after which ``run(_:)`` fails; 0: never.
    let giveUpAfter: Int

    private(set) var endings: FlowEndings
    private(set) var cursor: String
    /// The reason in the event `closing` with which the hub ended the most recent connection; `nil` without such an event.
    private var lastClosingReason: String?
    private var policy = ReconnectPolicy()
    private var generator = SystemRandomNumberGenerator()

    init(client: HubClient, flows: [FlowID], target: String, cursor: String, endsWhenFinished: Bool, giveUpAfter: Int) {
        self.client = client
        self.target = target
        self.endsWhenFinished = endsWhenFinished
        self.giveUpAfter = giveUpAfter
        self.endings = FlowEndings(flows)
        self.cursor = cursor
    }

    /// Follows the flows until they end.
    /// - Throws: ``CommandFailure`` if the hub rejects the stream, or if there was no working connection for ``giveUpAfter``
    ///   seconds; errors of `show`.
    mutating func run(_ show: (Notice) throws -> Void) async throws -> Ending {
        let clock = ContinuousClock()
        var lastGood = clock.now
        while true {
            let failure: CommandFailure
            do {
                if let ending = try await self.readStream(show) { return ending }
                failure = CommandFailure(
                    .unreachable,
                    self.lastClosingReason.map { "the hub closed the stream (\($0))" }
                        ?? "the stream ended without a closing event")
            } catch let error as Interruption {
                failure = CommandFailure(.unreachable, error.reason)
            }
            if self.policy.failures == 0 { lastGood = clock.now }
            if self.giveUpAfter > 0, clock.now - lastGood > .seconds(self.giveUpAfter) {
                throw CommandFailure(
                    .unreachable,
                    "\(Self.withoutPeriod(failure.message)); giving up after \(self.giveUpAfter) s."
                )
            }
            let delay = self.policy.nextDelay(using: &self.generator)
            try show(.lost(reason: Self.withoutPeriod(failure.message), nextInMilliseconds: delay))
            try await Task.sleep(for: .milliseconds(delay))
        }
    }

    /// The connection failed, or the hub rejected it temporarily. Reconnecting may help.
    private struct Interruption: Error {
        let reason: String
    }

    /// Opens the stream once, and reads it to its end.
    /// - Returns: how the flows ended; `nil` if the connection ended before them.
    /// - Throws: `Interruption` if reconnecting may help; ``CommandFailure`` if not; errors of `show`.
    private mutating func readStream(_ show: (Notice) throws -> Void) async throws -> Ending? {
        let response: HTTPClientResponse
        do {
            response = try await self.client.open(self.target, cursor: self.cursor)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw Interruption(reason: self.client.unreachable(error).message)
        }
        switch response.status.code {
        case 200:
            break
        case 204:
            return .closed
        default:
            let body = try? await response.body.collect(upTo: 1_048_576)
            let problem = HubProblem(status: Int(response.status.code), body: body.map { Array($0.readableBytesView) } ?? [])
            if response.status.code == 429 || response.status.code >= 500 { throw Interruption(reason: problem.message) }
            throw problem.failure
        }
        let contentType = response.headers.first(name: "Content-Type") ?? ""
        guard contentType.lowercased().hasPrefix("text/event-stream") else {
            throw CommandFailure(
                .rejected,
                "The response is not an event stream, but of type \"\(Terminal.sanitized(contentType))\". Check --url.")
        }
        self.lastClosingReason = nil
        try show(.connected(cursor: self.cursor))
        var parser = EventStreamParser(cursor: self.cursor)
        var shown: Result<Ending?, any Error> = .success(nil)
        do {
            reading: for try await chunk in response.body {
                for item in try parser.feed(chunk.readableBytesView) {
                    shown = Result { try self.handle(item, show) }
                    if case .success(nil) = shown { continue }
                    break reading
                }
                self.cursor = parser.cursor
            }
        } catch {
            throw try Self.interruption(error)
        }
        return try shown.get()
    }

    /// Processes one item of the stream: moves the cursor, and shows an event.
    /// - Returns: how the flows ended; `nil` if they have not.
    private mutating func handle(_ item: EventStreamParser.Item, _ show: (Notice) throws -> Void) throws -> Ending? {
        switch item {
        case .retry(let milliseconds):
            self.policy.receivedRetry(milliseconds: milliseconds)
        case .cursor(let cursor):
            self.cursor = cursor
            self.policy.delivered()
        case .event(let event):
            self.cursor = event.id
            if event.type != "closing" { self.policy.delivered() }
            try show(.event(event))
            if let data = try? JSONText(validating: event.data.utf8) {
                self.endings.read(event.type, data)
                if event.type == "closing" {
                    self.lastClosingReason = data.member("reason")?.stringValue.map { Terminal.sanitized($0) }
                }
            }
            if self.endings.allClosed { return .closed }
            if self.endsWhenFinished, self.endings.allFinished { return .finished }
        }
        return nil
    }

    /// A message without the period at its end, so that text can be appended.
    private static func withoutPeriod(_ message: String) -> String {
        message.hasSuffix(".") ? String(message.dropLast()) : message
    }

    /// Converts an error that occurred while reading the stream to the reason to reconnect.
    /// - Throws: `CancellationError` if that is the error.
    private static func interruption(_ error: any Error) throws(CancellationError) -> Interruption {
        if let cancelled = error as? CancellationError { throw cancelled }
        if let error = error as? EventStreamParser.TooLarge {
            return Interruption(reason: "the hub sent an event of more than \(error.limit >> 20) MiB")
        }
        if error as? HTTPClientError == .readTimeout {
            return Interruption(reason: "no data was received for \(HubClient.silence.nanoseconds / 1_000_000_000) s")
        }
        return Interruption(reason: "the connection was lost")
    }

    /// Requests the status of each flow that is not known to be terminal. A flow that the hub does not return counts as
    /// deleted.
    mutating func learnStatuses() async throws {
        for flow in self.endings.flows where self.endings.statuses[flow]?.isTerminal != true {
            do {
                let request = HubClient.Request(method: .get, target: "/v1/flows/\(flow)/state")
                let body = try await self.client.send(request).body
                let status = (try? JSONText(validating: body))?.member("status")?.stringValue
                if let status { self.endings.set(FlowStatus(stored: status), of: flow) }
            } catch let failure as CommandFailure where failure.kind == .rejected {
                self.endings.set(.deleted, of: flow)
            }
        }
    }
}
