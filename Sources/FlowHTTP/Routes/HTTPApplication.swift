import FlowCore
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// Answers ordinary requests, which are all except those for an event stream: routes them, converts errors into problems,
/// answers CORS preflights and adds the CORS header fields.
struct HTTPApplication: Sendable {
    let access: AccessControl
    /// Logs why requests are rejected, also those that the connection rejects.
    let rejections: RejectionLog
    private let routes: RouteTable
    private let responder: RouterResponder<HubContext>
    private let failures = LogLimiter()
    private let logger: Logger

    /// - Parameter streams: the requests for event streams that the connection answers; none on the operations listener.
    init(access: AccessControl, router: Router<HubContext>, streams: [RouteTable.Route], logger: Logger) {
        self.access = access
        self.rejections = RejectionLog(logger: logger, cors: access.cors)
        self.routes = RouteTable(router, and: streams)
        self.responder = router.buildResponder()
        self.logger = logger
    }

    /// Answers a request.
    /// - Parameters:
    ///   - access: what the request's head has decided about its access.
    ///   - isSecure: whether the client is known to use https.
    ///   - id: the request's id.
    ///   - record: the access log's record of the request; `nil` if the request is not logged.
    /// - Returns: the response, and the route pattern that produced it, as a label for the metrics.
    func respond(
        to request: Request, access: RequestAccess, channel: any Channel, remote: String, isSecure: Bool, id: String,
        record: RequestRecord?
    ) async -> (Response, route: String) {
        if request.method == .options, request.headers[.accessControlRequestMethod] != nil {
            return (self.preflight(request), "preflight")
        }
        let context = HubContext(
            source: HubContext.Source(
                channel: channel, logger: self.logger, remote: remote, isSecure: isSecure, access: access, record: record))
        var response: Response
        do {
            response = try await self.responder.respond(to: request, context: context)
            // The router returns a 404 without a body if it has no route with this path and method.
            if response.status == .notFound, response.headers[.contentType] == nil { response = try self.unrouted(request) }
        } catch {
            var problem = self.problem(for: error, request: id, path: request.uri.path)
            problem.requestID = id
            record?.set(\.code, problem.code)
            self.rejections.log(problem, id: id, remote: remote)
            response = problem.response
        }
        if response.headers[.idempotencyReplayed] != nil { record?.set(\.isReplayed, true) }
        for field in self.access.cors.headers(for: request.headers[.origin]) where response.headers[field.name] == nil {
            response.headers[field.name] = field.value
        }
        return (response, context.endpointPath ?? "none")
    }

    /// The response to a request for which the router has no route: to OPTIONS, the methods of the path.
    /// - Throws: ``HTTPProblem``: 405 if the path has other methods, else 404.
    private func unrouted(_ request: Request) throws -> Response {
        guard let allow = self.routes.allow(request.uri.path) else { throw HTTPError(.notFound) }
        if request.method == .options { return Response(status: .noContent, headers: [.allow: allow]) }
        var problem = HTTPProblem(
            .methodNotAllowed, "method_not_allowed",
            "The route has the methods \(allow), not \(request.method.rawValue.prefix(32)).")
        problem.headers[.allow] = allow
        throw problem
    }

    /// The response to a preflight, which a browser sends before a cross-origin request that an HTML form could not make
    /// (Fetch, 3.2.2).
    private func preflight(_ request: Request) -> Response {
        Response(status: .noContent, headers: self.access.cors.preflightHeaders(for: request.headers[.origin]))
    }

    /// The problem for an error of a route or the router. Logs an error that no route expects, and the cause of a failure.
    private func problem(for error: any Error, request id: String, path: String) -> HTTPProblem {
        switch error {
        case let problem as HTTPProblem:
            if let cause = problem.cause { self.log(cause, of: problem, request: id) }
            return problem
        case let error as StoreError: return self.problem(for: HTTPProblem(error), request: id, path: path)
        case let error as AccessError: return HTTPProblem(error)
        case let error as any HTTPResponseError: return Self.problem(for: error)
        default:
            self.logger.error("Request failed", metadata: ["error": "\(error)", "path": "\(path)", "request": "\(id)"])
            return HTTPProblem(.internalServerError, "internal", "Internal error; the hub's log has the cause.")
        }
    }

    /// Logs what a store or a service said about its failure, which the client is not told. While it fails, every request may.
    private func log(_ cause: String, of problem: HTTPProblem, request id: String) {
        guard let count = self.failures.add() else { return }
        self.logger.warning(
            "Requests failed because of a store or a service",
            metadata: ["error": "\(cause)", "code": "\(problem.code)", "request": "\(id)", "count": .stringConvertible(count)])
    }

    /// The problem for an error of Hummingbird, such as an unknown route.
    private static func problem(for error: any HTTPResponseError) -> HTTPProblem {
        switch error.status {
        case .notFound:
            HTTPProblem(
                .notFound, "not_found", "No route has this path; see docs/PROTOCOL.md.")
        case .contentTooLarge:
            HTTPProblem(.contentTooLarge, "body_too_large", "The request body is too large.")
        default:
            HTTPProblem(error.status, "refused", "The request was rejected: \(error.status.reasonPhrase).")
        }
    }
}

/// The context in which a route answers a request.
struct HubContext: RequestContext {
    struct Source: RequestContextSource {
        let channel: any Channel
        let logger: Logger
        let remote: String
        let isSecure: Bool
        let access: RequestAccess
        let record: RequestRecord?
    }

    var coreContext: CoreRequestContextStorage
    /// The principal of the request; ``AccessMiddleware`` sets it on the routes under `/v1`.
    var principal = Principal.open
    /// The client's IP address.
    let remote: String
    /// Whether the client is known to use https.
    let isSecure: Bool
    /// What the request's head has decided about its access.
    let access: RequestAccess
    /// The access log's record of the request; `nil` if the request is not logged.
    let record: RequestRecord?

    init(source: Source) {
        self.coreContext = .init(source: source)
        self.remote = source.remote
        self.isSecure = source.isSecure
        self.access = source.access
        self.record = source.record
    }
}

/// What a request's head decides about the access of the request, before a byte of its body is kept.
enum RequestAccess: Sendable {
    /// No route with this path needs a token. None takes a body either, so the body is discarded.
    case notNeeded
    /// The token was verified.
    case granted(Principal)
    /// The request is rejected.
    case denied(AccessError)
}

/// Authentication of requests: verifies the token, checks revocations, and checks the `Origin` of requests that modify data
/// with the cookie.
struct AccessControl: Sendable {
    let verifier: TokenVerifier
    var cors: CORSPolicy
    let proxies: TrustedProxies
    /// Which requests of web pages are answered, where no token protects the routes; `nil` on the port of a hub with keys.
    var pages: KeylessAccess?
    /// Whether the tokens of a principal are revoked.
    let isRevoked: @Sendable (Principal) -> Bool
    let now: @Sendable () -> Timestamp

    /// What a request's head decides without verifying a signature.
    enum HeadDecision: Sendable {
        case decided(RequestAccess)
        /// The signature of this token must be verified, with ``verify(_:)``.
        case unverified(token: String)
    }

    /// Decides about the access of an ordinary request from its head. Does not suspend, so event loops may call it.
    /// - Parameters:
    ///   - target: the path and the query of the request.
    ///   - isSecure: whether the client is known to use https.
    func decide(_ head: HTTPRequest, target: RequestPath, isSecure: Bool) -> HeadDecision {
        let isPreflight = head.method == .options && head.headerFields[.accessControlRequestMethod] != nil
        let segment = target.path.utf8.dropFirst().prefix { $0 != UInt8(ascii: "/") }
        guard segment.elementsEqual("v1".utf8), !isPreflight else { return .decided(.notNeeded) }
        if self.verifier.isOpen { return .decided(.granted(.open)) }
        if head.method == .delete, target.path == SessionRoutes.path { return .decided(.notNeeded) }
        do throws(AccessError) {
            let token = try self.token(of: head, target: target, isSecure: isSecure)
            guard let principal = self.verifier.cached(token, now: self.now().seconds) else { return .unverified(token: token) }
            if self.isRevoked(principal) { throw .tokenRevoked }
            return .decided(.granted(principal))
        } catch {
            return .decided(.denied(error))
        }
    }

    /// Verifies a token, whose signature takes about 0.1 ms of CPU time, and checks revocations.
    func verify(_ token: String) async -> RequestAccess {
        do throws(AccessError) {
            let principal = try await self.verifier.verify(token, now: self.now().seconds)
            if self.isRevoked(principal) { throw .tokenRevoked }
            return .granted(principal)
        } catch {
            return .denied(error)
        }
    }

    /// Checks again, some time after the token was verified, that it has neither expired nor been revoked since.
    /// - Throws: ``AccessError`` `token_expired` or `token_revoked`.
    func check(_ principal: Principal) throws(AccessError) {
        guard !principal.isOpen else { return }
        if principal.isExpired(now: self.now().seconds, leeway: self.verifier.leewaySeconds) { throw .tokenExpired }
        if self.isRevoked(principal) { throw .tokenRevoked }
    }

    /// The token of an ordinary request.
    /// - Throws: ``AccessError`` if there is none, or if a request that modifies data uses the cookie without an allowed `Origin`.
    private func token(of head: HTTPRequest, target: RequestPath, isSecure: Bool) throws(AccessError) -> String {
        let found = TokenSource.token(
            authorization: head.headerFields[.authorization], cookie: head.headerFields[.cookie], query: target.query)
        guard let found else { throw .tokenMissing }
        let onlyReads =
            [HTTPRequest.Method.get, .head, .options].contains(head.method)
            || StreamRequest.isStreamWithBody(method: head.method, path: target.path)
        if found.source == .cookie, !onlyReads {
            let isAllowed = self.cors.isListedOrOwn(
                origin: head.headerFields[.origin], host: head.authority, isSecure: isSecure)
            guard isAllowed else { throw .originForbidden(seen: head.headerFields[.origin]) }
        }
        return found.token
    }
}

/// Sets the principal of the requests to a group of routes, which need a token.
struct AccessMiddleware: RouterMiddleware {
    let access: AccessControl

    /// Sets the principal of the request, then calls the next handler.
    /// - Throws: ``AccessError`` if the request is not authenticated.
    @concurrent
    func handle(
        _ request: Request, context: HubContext, next: @concurrent (Request, HubContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        switch context.access {
        case .granted(let principal):
            // The body may have taken a while to arrive.
            try self.access.check(principal)
            context.principal = principal
        case .denied(let error): throw error
        // The connection and the router disagree about the path: such a request must not get in without a token.
        case .notNeeded: throw AccessError.tokenMissing
        }
        if let name = QueryParameters.unreadable(in: request.querySubstring) { throw HTTPProblem.unreadableParameter(name) }
        return try await next(request, context)
    }
}
