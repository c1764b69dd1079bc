import AsyncHTTPClient
import FlowCore
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// HTTP client of the commands for one hub, with retries.
struct HubClient {
    enum Method: String {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    /// A request whose response is collected in memory.
    struct Request {
        var method: Method
        /// Path, starting with `/v1`, and query.
        var target: String
        var headers = HTTPHeaders()
        var body: [UInt8] = []
        var contentType = "application/json"
        /// Whether the request is idempotent, so that it can be repeated if its response was lost.
        var isRetryable = true
        /// Maximum number of attempts.
        var attempts = HubClient.attempts
        /// Timeout of one attempt.
        var timeout = HubClient.timeout
    }

    /// A response whose body was collected in memory.
    struct Response {
        var status: Int
        var headers: HTTPHeaders
        var body: [UInt8]

        /// Whether this is the stored reply of an earlier request with the same idempotency key.
        var isReplayed: Bool { self.headers.first(name: "Idempotency-Replayed") == "true" }
    }

    /// Default of the maximum number of attempts.
    static let attempts = 4

    /// Default timeout of one attempt; for a stream, the timeout until its response head.
    static let timeout = TimeAmount.seconds(30)

    /// Default timeout without received bytes; then the connection counts as lost. On a stream the hub sends a heartbeat every
    /// 15 s by default.
    static let silence = TimeAmount.seconds(60)

    /// Maximum size of a response body, 64 MiB. The hub's list pages are far smaller.
    static let maximumBodyBytes = 64 * 1_048_576

    let hub: HubURL
    let http: HTTPClient
    private let authorization: String?

    /// Runs the body with a client, and shuts the client down afterwards.
    /// - Parameters:
    ///   - silence: timeout without received bytes while the client waits for the hub.
    ///   - stall: timeout without write progress of the request body; `nil`: none, for a body whose source may be slow.
    static func withClient<Result>(
        hub: HubURL, authorization: String?, silence: TimeAmount = Self.silence, stall: TimeAmount? = nil,
        _ body: (HubClient) async throws -> Result
    ) async throws -> Result {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(10)
        configuration.timeout.read = silence
        configuration.timeout.write = stall
        // With AsyncHTTPClient's own retries a refused connection would only be reported after the connect timeout. `send`
        // retries instead, and reports the first failure immediately.
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

    /// Sends a request. Repeats it after a failure that may be temporary, if repeating it is safe.
    /// - Returns: a 2xx response.
    /// - Throws: ``CommandFailure`` for any other result, after all attempts; `CancellationError`.
    func send(_ request: Request) async throws -> Response {
        var backoff = 250
        for attempt in 1..<request.attempts {
            switch try await self.once(request) {
            case .answered(let response): return response
            case .rejected(let failure): throw failure
            case .mayPass(let failure, let what, let afterSeconds):
                let wait = max(backoff + Int.random(in: 0...backoff), (afterSeconds ?? 0) * 1000)
                // Fails if the next attempt would have to wait for longer than 10 s.
                guard wait <= 10_000 else { throw failure }
                if attempt == 1 { Terminal.note("flowhub: \(what); retrying") }
                try await Task.sleep(for: .milliseconds(wait))
                backoff *= 2
            }
        }
        switch try await self.once(request) {
        case .answered(let response): return response
        case .rejected(let failure), .mayPass(let failure, _, _): throw failure
        }
    }

    /// Opens an event stream. The caller checks the status and reads the body.
    /// - Parameters:
    ///   - cursor: sent as `Last-Event-ID` unless empty.
    ///   - body: JSON to send with POST; empty: GET.
    func open(_ target: String, cursor: String = "", body: [UInt8] = []) async throws -> HTTPClientResponse {
        var request = self.prepared(body.isEmpty ? .get : .post, target)
        if !body.isEmpty {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        request.headers.add(name: "Accept", value: "text/event-stream")
        request.headers.add(name: "Cache-Control", value: "no-cache")
        if !cursor.isEmpty { request.headers.add(name: "Last-Event-ID", value: cursor) }
        return try await self.http.execute(request, timeout: Self.timeout)
    }

    /// Makes one attempt at a request with a streamed body or response. The caller checks the status and reads the body.
    /// There is no deadline; only the client's `silence` and `stall` timeouts apply.
    func stream(
        _ method: Method, _ target: String, headers: HTTPHeaders, body: HTTPClientRequest.Body? = nil
    ) async throws -> HTTPClientResponse {
        var request = self.prepared(method, target)
        request.headers.add(contentsOf: headers)
        request.body = body
        return try await self.http.execute(request, deadline: .distantFuture)
    }

    /// The failure to report for a transport error.
    func unreachable(_ error: any Error) -> CommandFailure {
        CommandFailure(
            .unreachable,
            "Cannot reach \(Terminal.sanitized(self.hub.base)) (\(Self.describe(error))). "
                + "Check that the hub is running and --url is correct."
        )
    }

    /// The result of one attempt.
    private enum Outcome {
        /// A 2xx response.
        case answered(Response)
        /// Final: a retry would not help or is not safe.
        case rejected(CommandFailure)
        /// Temporary, and safe to retry. `what` is the cause, for a message; `afterSeconds` is the response's `Retry-After`.
        case mayPass(CommandFailure, what: String, afterSeconds: Int?)
    }

    /// Makes one attempt, and decides whether a further one may follow.
    private func once(_ request: Request) async throws(CancellationError) -> Outcome {
        let response: Response
        do {
            response = try await self.exchange(request)
        } catch {
            if let cancelled = error as? CancellationError { throw cancelled }
            let failure = self.unreachable(error)
            guard request.isRetryable || Self.wasNeverSent(error) else { return .rejected(failure) }
            let what = "cannot reach \(Terminal.sanitized(self.hub.base)) (\(Self.describe(error)))"
            return .mayPass(failure, what: what, afterSeconds: nil)
        }
        if (200..<300).contains(response.status) { return .answered(response) }
        let failure = HubProblem(status: response.status, body: response.body).failure
        // A 429 shows that the hub changed nothing. After a 5xx that is unknown, so only an idempotent request is repeated.
        guard response.status == 429 || (response.status >= 500 && request.isRetryable) else { return .rejected(failure) }
        let seconds = response.headers.first(name: "Retry-After").flatMap { Int($0) }
        return .mayPass(
            failure, what: "the hub answered \(response.status)", afterSeconds: seconds.map { min(max($0, 0), 3600) })
    }

    /// Makes one attempt, and collects the response in memory.
    /// - Returns: the response, whatever its status.
    /// - Throws: transport errors.
    func exchange(_ request: Request) async throws -> Response {
        var prepared = self.prepared(request.method, request.target)
        prepared.headers.add(name: "Accept", value: "application/json, application/problem+json")
        prepared.headers.add(contentsOf: request.headers)
        if !request.body.isEmpty {
            prepared.headers.add(name: "Content-Type", value: request.contentType)
            prepared.body = .bytes(ByteBuffer(bytes: request.body))
        }
        let response = try await self.http.execute(prepared, timeout: request.timeout)
        let body = try await response.body.collect(upTo: Self.maximumBodyBytes)
        return Response(status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }

    /// Creates a request to the hub with the headers that all requests have: `User-Agent` and, with a token, `Authorization`.
    private func prepared(_ method: Method, _ target: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: self.hub.base + target)
        request.method = HTTPMethod(rawValue: method.rawValue)
        request.headers.add(name: "User-Agent", value: "flowhub-cli")
        if let authorization = self.authorization { request.headers.add(name: "Authorization", value: authorization) }
        return request
    }

    /// Whether the error proves that the hub did not receive the request.
    static func wasNeverSent(_ error: any Error) -> Bool {
        // ECONNREFUSED can only occur while connecting; an established connection fails with ECONNRESET.
        error is NIOConnectionError || (error as? HTTPClientError) == .connectTimeout
            || (error as? IOError)?.errnoCode == ECONNREFUSED
    }

    /// A short description of a transport error.
    static func describe(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            return error.dnsAError != nil && error.connectionErrors.isEmpty
                ? "unknown host" : error.connectionErrors.first.map { Self.describe($0.error) } ?? "no address"
        }
        if let error = error as? IOError {
            switch error.errnoCode {
            case ECONNREFUSED: return "connection refused"
            case ETIMEDOUT: return "timed out"
            case EHOSTUNREACH, ENETUNREACH: return "no route to host"
            case ECONNRESET, EPIPE: return "connection reset"
            default: return "errno \(error.errnoCode)"
            }
        }
        if let error = error as? HTTPClientError { return error.shortDescription }
        return Terminal.sanitized("\(error)")
    }
}

extension HubClient {
    /// Sends a GET and parses the response as JSON.
    /// - Throws: ``CommandFailure``, also of kind `rejected` if the response is not JSON.
    func json(_ target: String) async throws -> JSONText {
        let body = try await self.send(Request(method: .get, target: target)).body
        do { return try JSONText(validating: body) } catch {
            throw CommandFailure(
                .rejected,
                "The response to GET \(Terminal.sanitized(target)) is not JSON. Check that --url is the hub's.")
        }
    }
}
