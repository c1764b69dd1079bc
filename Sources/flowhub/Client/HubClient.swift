import AsyncHTTPClient
import FlowCore
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// A hub, as a command sees it: one request, one answer, and a few attempts at it.
struct HubClient {
    enum Method: String {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    /// An ordinary request.
    struct Request {
        var method: Method
        /// From `/v1` on, with its query.
        var target: String
        var headers: [(name: String, value: String)] = []
        var body: [UInt8] = []
        var contentType = "application/json"
        /// Whether doing it twice is like doing it once: then a lost answer is asked for again.
        var isRepeatable = true
        /// How often it is tried in all.
        var attempts = HubClient.attempts
        /// For one attempt.
        var timeout = HubClient.timeout
    }

    struct Response {
        var status: Int
        var headers: HTTPHeaders
        var body: [UInt8]

        /// Whether an earlier request under the same idempotency key had done it.
        var isReplayed: Bool { self.headers.first(name: "Idempotency-Replayed") == "true" }
    }

    /// How often a request is tried in all, if it does not say so itself.
    static let attempts = 4

    /// For the head of an answer.
    static let timeout = TimeAmount.seconds(30)

    /// How long a connection may say nothing. A stream's heartbeats come every 15 s, so by then it is dead.
    static let silence = TimeAmount.seconds(60)

    /// The longest answer that is read. A page of the hub is far below.
    static let maximumBodyBytes = 64 * 1_048_576

    let hub: HubURL
    let http: HTTPClient
    private let authorization: String?

    /// - Parameters:
    ///   - silence: how long a connection may say nothing while it is the hub's turn.
    ///   - stall: how long the hub may take nothing of what is sent; `nil`: for ever, as what is sent may come slowly itself.
    static func withClient<Result>(
        hub: HubURL, authorization: String?, silence: TimeAmount = Self.silence, stall: TimeAmount? = nil,
        _ body: (HubClient) async throws -> Result
    ) async throws -> Result {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(10)
        configuration.timeout.read = silence
        configuration.timeout.write = stall
        // Else a refusal is kept quiet until the time for connecting is over: the attempts here tell of it, and end sooner.
        configuration.connectionPool.retryConnectionEstablishment = false
        let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        do {
            let result = try await body(HubClient(hub: hub, http: http, authorization: authorization))
            try await http.shutdown()
            return result
        } catch {
            try? await http.shutdown()
            throw error
        }
    }

    /// - Returns: an answer of 2xx.
    /// - Throws: ``CommandFailure`` for everything else, after all attempts.
    func send(_ request: Request) async throws -> Response {
        var pause = 250
        for attempt in 1..<request.attempts {
            switch try await self.once(request) {
            case .answered(let response): return response
            case .refused(let failure): throw failure
            case .mayPass(let failure, let what, let afterSeconds):
                let wait = max(pause + Int.random(in: 0...pause), (afterSeconds ?? 0) * 1000)
                // A hub that asks for more patience than a command has is not waited for.
                guard wait <= 10_000 else { throw failure }
                if attempt == 1 { Terminal.say("flowhub: \(what), trying again") }
                try await Task.sleep(for: .milliseconds(wait))
                pause *= 2
            }
        }
        switch try await self.once(request) {
        case .answered(let response): return response
        case .refused(let failure), .mayPass(let failure, _, _): throw failure
        }
    }

    /// Opens an event stream: whatever the answer's status, its body is the caller's to read.
    func open(_ target: String, cursor: String) async throws -> HTTPClientResponse {
        var request = self.prepared(.get, target)
        request.headers.add(name: "Accept", value: "text/event-stream")
        request.headers.add(name: "Cache-Control", value: "no-cache")
        if !cursor.isEmpty { request.headers.add(name: "Last-Event-ID", value: cursor) }
        return try await self.http.execute(request, timeout: Self.timeout)
    }

    /// One attempt at a request whose body, or whose answer's, is too large to be held: whatever the answer's status, its body
    /// is the caller's to read. There is no limit to the time but the client's own for silence.
    func stream(
        _ method: Method, _ target: String, headers: [(name: String, value: String)], body: HTTPClientRequest.Body? = nil
    ) async throws -> HTTPClientResponse {
        var request = self.prepared(method, target)
        for header in headers { request.headers.add(name: header.name, value: header.value) }
        request.body = body
        return try await self.http.execute(request, deadline: .distantFuture)
    }

    /// What a failed attempt means for whoever typed the command.
    func unreachable(_ error: any Error) -> CommandFailure {
        CommandFailure(
            .unreachable,
            "\(Terminal.harmless(self.hub.base)) could not be reached (\(Self.words(error))). Is the hub running, and is --url right?"
        )
    }

    private enum Outcome {
        case answered(Response)
        /// For good.
        case refused(CommandFailure)
        /// Another attempt may end better, and does no harm. `what` has happened.
        case mayPass(CommandFailure, what: String, afterSeconds: Int?)
    }

    private func once(_ request: Request) async throws(CancellationError) -> Outcome {
        let response: Response
        do {
            response = try await self.exchange(request)
        } catch {
            if let cancelled = error as? CancellationError { throw cancelled }
            let failure = self.unreachable(error)
            guard request.isRepeatable || Self.wasNeverSent(error) else { return .refused(failure) }
            let what = "\(Terminal.harmless(self.hub.base)) is not reachable (\(Self.words(error)))"
            return .mayPass(failure, what: what, afterSeconds: nil)
        }
        if (200..<300).contains(response.status) { return .answered(response) }
        let failure = HubProblem(status: response.status, body: response.body).failure
        // A 429 was not carried out; after a 5xx nobody knows.
        guard response.status == 429 || (response.status >= 500 && request.isRepeatable) else { return .refused(failure) }
        let seconds = response.headers.first(name: "Retry-After").flatMap { Int($0) }
        return .mayPass(
            failure, what: "the hub answered \(response.status)", afterSeconds: seconds.map { min(max($0, 0), 3600) })
    }

    /// One attempt. An answer of any status is no error.
    func exchange(_ request: Request) async throws -> Response {
        var prepared = self.prepared(request.method, request.target)
        prepared.headers.add(name: "Accept", value: "application/json, application/problem+json")
        for header in request.headers { prepared.headers.add(name: header.name, value: header.value) }
        if !request.body.isEmpty {
            prepared.headers.add(name: "Content-Type", value: request.contentType)
            prepared.body = .bytes(ByteBuffer(bytes: request.body))
        }
        let response = try await self.http.execute(prepared, timeout: request.timeout)
        let body = try await response.body.collect(upTo: Self.maximumBodyBytes)
        return Response(status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }

    private func prepared(_ method: Method, _ target: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: self.hub.base + target)
        request.method = HTTPMethod(rawValue: method.rawValue)
        request.headers.add(name: "User-Agent", value: "flowhub-cli")
        if let authorization = self.authorization { request.headers.add(name: "Authorization", value: authorization) }
        return request
    }

    /// Whether the hub cannot have seen the request.
    static func wasNeverSent(_ error: any Error) -> Bool {
        // Only connecting is refused; a connection that was there is reset.
        error is NIOConnectionError || (error as? HTTPClientError) == .connectTimeout
            || (error as? IOError)?.errnoCode == ECONNREFUSED
    }

    /// Why no connection came about, in few words.
    static func words(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            return error.dnsAError != nil && error.connectionErrors.isEmpty
                ? "the name is not known" : error.connectionErrors.first.map { Self.words($0.error) } ?? "no address"
        }
        if let error = error as? IOError {
            switch error.errnoCode {
            case ECONNREFUSED: return "connection refused"
            case ETIMEDOUT: return "timed out"
            case EHOSTUNREACH, ENETUNREACH: return "no way there"
            case ECONNRESET, EPIPE: return "the connection broke"
            default: return "errno \(error.errnoCode)"
            }
        }
        if let error = error as? HTTPClientError { return error.shortDescription }
        return Terminal.harmless("\(error)")
    }
}
