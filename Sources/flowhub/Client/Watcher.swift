import AsyncHTTPClient
import FlowCore
import NIOCore
import NIOHTTP1

/// Follows flows: connects, reads, comes back with its cursor, and knows when it is over.
struct Watcher {
    /// What happened, for whoever shows it.
    enum Notice {
        case connected(cursor: String)
        case event(ServerEvent)
        case lost(reason: String, nextInMilliseconds: Int)
    }

    enum Ending {
        /// The hub has nothing more: 204, or `closing` without a way back.
        case closed
        /// Every flow is terminal (only if that was asked for).
        case finished
    }

    let client: HubClient
    let target: String
    let endsWhenFinished: Bool
    /// Seconds without a connection after which it is given up; 0: never.
    let giveUpAfter: Int

    private(set) var endings: FlowEndings
    private(set) var cursor: String
    /// The reason of the `closing` that ended the last connection.
    private var farewell: String?
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

    /// - Throws: ``CommandFailure`` when the hub refuses for good or was away for too long; whatever `show` throws.
    mutating func run(_ show: (Notice) throws -> Void) async throws -> Ending {
        let clock = ContinuousClock()
        var lastGood = clock.now
        while true {
            let failure: CommandFailure
            do {
                if let ending = try await self.connection(show) { return ending }
                failure = CommandFailure(
                    .unreachable, self.farewell.map { "the hub closed the stream (\($0))" } ?? "the stream ended")
            } catch let error as Interruption {
                failure = CommandFailure(.unreachable, error.reason)
            }
            if self.policy.failures == 0 { lastGood = clock.now }
            if self.giveUpAfter > 0, clock.now - lastGood > .seconds(self.giveUpAfter) {
                throw CommandFailure(
                    .unreachable,
                    "\(Self.open(failure.message)); given up after \(self.giveUpAfter) s. Is the hub running, and is --url right?"
                )
            }
            let delay = self.policy.nextDelay(using: &self.generator)
            try show(.lost(reason: Self.open(failure.message), nextInMilliseconds: delay))
            try await Task.sleep(for: .milliseconds(delay))
        }
    }

    /// A connection that ended without being over.
    private struct Interruption: Error {
        let reason: String
    }

    /// One connection from its request to its end.
    private mutating func connection(_ show: (Notice) throws -> Void) async throws -> Ending? {
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
                .refused, "The answer is no event stream (\(Terminal.harmless(contentType))). Is --url the address of a FlowHub?")
        }
        self.farewell = nil
        try show(.connected(cursor: self.cursor))
        var parser = EventStreamParser(cursor: self.cursor)
        var shown: Result<Ending?, any Error> = .success(nil)
        do {
            reading: for try await chunk in response.body {
                for item in try parser.feed(chunk.readableBytesView) {
                    shown = Result { try self.take(item, show) }
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

    private mutating func take(_ item: EventStreamParser.Item, _ show: (Notice) throws -> Void) throws -> Ending? {
        switch item {
        case .retry(let milliseconds):
            self.policy.asked(milliseconds: milliseconds)
        case .cursor(let cursor):
            self.cursor = cursor
            self.policy.delivered()
        case .event(let event):
            self.cursor = event.id
            if event.type != "closing" { self.policy.delivered() }
            try show(.event(event))
            if let data = try? JSONText(validating: event.data.utf8) {
                self.endings.read(event.type, data)
                if event.type == "closing" { self.farewell = data.member("reason")?.stringValue.map { Terminal.harmless($0) } }
            }
            if self.endings.allClosed { return .closed }
            if self.endsWhenFinished, self.endings.allFinished { return .finished }
        }
        return nil
    }

    /// A sentence that will go on.
    private static func open(_ message: String) -> String { message.hasSuffix(".") ? String(message.dropLast()) : message }

    private static func interruption(_ error: any Error) throws(CancellationError) -> Interruption {
        if let cancelled = error as? CancellationError { throw cancelled }
        if error is EventStreamParser.TooLarge { return Interruption(reason: "an event is too large") }
        if error as? HTTPClientError == .readTimeout {
            return Interruption(reason: "nothing was heard for \(HubClient.silence.nanoseconds / 1_000_000_000) s")
        }
        return Interruption(reason: "the connection broke")
    }

    /// Asks for the status of each flow that ended without having told it.
    mutating func learnStatuses() async throws {
        for flow in self.endings.flows where self.endings.statuses[flow]?.isTerminal != true {
            do {
                let request = HubClient.Request(method: .get, target: "/v1/flows/\(flow)/state")
                let body = try await self.client.send(request).body
                let status = (try? JSONText(validating: body))?.member("status")?.stringValue
                if let status { self.endings.set(FlowStatus(stored: status), of: flow) }
            } catch let failure as CommandFailure where failure.kind == .refused {
                self.endings.set(.deleted, of: flow)
            }
        }
    }
}
