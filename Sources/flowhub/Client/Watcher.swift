import AsyncHTTPClient
import FlowCore
import NIOCore
import NIOHTTP1

/// Follows flows, on one stream at a time: connects, reads events, and reconnects with the cursors when the stream ends,
/// until all flows have ended or the hub says not to reconnect.
///
/// One flow is requested by GET, several by POST: then each flow has a cursor of its own, and the hub accepts many.
struct Watcher {
    /// Something to show: an event, or a change of the connection.
    enum Notice {
        /// The hub has answered the request with a stream, which continues after these positions.
        case connected(WatchPositions)
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

    /// What to request beside the flows.
    struct Options {
        /// The wanted event types; empty for all.
        var types: [EventType] = []
        var wantsSnapshot = true
        var wantsPresence = false
    }

    let client: HubClient
    let options: Options
    let endsWhenFinished: Bool
    /// Seconds without a working connection after which ``run(_:)`` fails; 0: never.
    let giveUpAfter: Int

    private(set) var endings: FlowEndings
    private(set) var positions: WatchPositions
    /// The reason in the event `closing` with which the hub ended the most recent connection; `nil` without such an event.
    private var lastClosingReason: String?
    private var policy = ReconnectPolicy()
    private var generator = SystemRandomNumberGenerator()

    init(client: HubClient, positions: WatchPositions, options: Options, endsWhenFinished: Bool, giveUpAfter: Int) {
        self.client = client
        self.options = options
        self.endsWhenFinished = endsWhenFinished
        self.giveUpAfter = giveUpAfter
        self.endings = FlowEndings(positions.flows)
        self.positions = positions
    }

    /// Whether each flow has a cursor of its own on the stream.
    private var hasSeveralFlows: Bool { self.positions.flows.count > 1 }

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
            response = try await self.open()
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
        try show(.connected(self.positions))
        var parser = EventStreamParser(cursor: self.positions.single, inheritsID: !self.hasSeveralFlows)
        var shown: Result<Ending?, any Error> = .success(nil)
        do {
            reading: for try await chunk in response.body {
                for item in try parser.feed(chunk.readableBytesView) {
                    shown = Result { try self.handle(item, show) }
                    if case .success(nil) = shown { continue }
                    break reading
                }
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
            if !self.hasSeveralFlows { self.positions.move(self.positions.flows[0], to: cursor) }
            self.policy.delivered()
        case .event(var event):
            let data = try? JSONText(validating: event.data.utf8)
            if !self.hasSeveralFlows {
                self.positions.move(self.positions.flows[0], to: event.id)
            } else if let flow = data?.member("flow_id")?.stringValue.flatMap({ FlowID($0) }) {
                if !event.id.isEmpty { self.positions.move(flow, to: event.id) }
                event.id = self.positions.cursors[flow] ?? ""
            }
            if event.type != "closing" { self.policy.delivered() }
            try show(.event(event))
            if let data {
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

    /// Requests the stream: of the only flow, or of those that the hub has not closed.
    private func open() async throws -> HTTPClientResponse {
        let flows = self.positions.flows
        guard self.hasSeveralFlows else {
            var query: [String] = []
            if !self.options.types.isEmpty {
                query.append("types=\(self.options.types.map(\.rawValue).joined(separator: ","))")
            }
            if !self.options.wantsSnapshot { query.append("snapshot=0") }
            if self.options.wantsPresence { query.append("presence=1") }
            let target = "/v1/flows/\(flows[0])/events" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
            return try await self.client.open(target, cursor: self.positions.single)
        }
        let body = JSONText.object { writer in
            writer.key("flows")
            writer.beginArray()
            for flow in flows where self.endings.closed[flow] == nil {
                writer.beginObject()
                writer.key("flow_id")
                writer.value(flow.rawValue)
                writer.key("after")
                if let cursor = self.positions.cursors[flow] { writer.value(cursor) } else { writer.null() }
                writer.endObject()
            }
            writer.endArray()
            if !self.options.types.isEmpty {
                writer.key("types")
                writer.beginArray()
                for type in self.options.types { writer.value(type.rawValue) }
                writer.endArray()
            }
            writer.key("snapshot")
            writer.value(self.options.wantsSnapshot)
            writer.key("presence")
            writer.value(self.options.wantsPresence)
        }
        return try await self.client.open("/v1/events", body: body.bytes)
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
