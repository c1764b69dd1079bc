import FlowCore
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// Answers ordinary requests, which are all except those for an event stream: routes them, converts errors into problems,
/// answers CORS preflights and adds the CORS header fields.
struct HTTPApplication: Sendable {
    let access: AccessControl
    private let responder: RouterResponder<HubContext>
    private let logger: Logger

    init(access: AccessControl, router: Router<HubContext>, logger: Logger) {
        self.access = access
        self.responder = router.buildResponder()
        self.logger = logger
    }

    /// Answers a request.
    /// - Parameters:
    ///   - access: what the request's head has decided about its access.
    ///   - id: the request's id.
    ///   - record: the access log's record of the request; `nil` if the request is not logged.
    /// - Returns: the response, and the route pattern that produced it, as a label for the metrics.
    func respond(
        to request: Request, access: RequestAccess, channel: any Channel, remote: String, id: String, record: RequestRecord?
    ) async -> (Response, route: String) {
        if request.method == .options, request.headers[.accessControlRequestMethod] != nil {
            return (self.preflight(request), "preflight")
        }
        let context = HubContext(
            source: HubContext.Source(channel: channel, logger: self.logger, remote: remote, access: access, record: record))
        var response: Response
        do {
            response = try await self.responder.respond(to: request, context: context)
            // For an unknown route the router returns a 404 without a body.
            if response.status == .notFound, response.headers[.contentType] == nil { throw HTTPError(.notFound) }
        } catch {
            var problem = self.problem(for: error, request: id, path: request.uri.path)
            problem.requestID = id
            record?.set(\.code, problem.code)
            response = problem.response
        }
        if response.headers[.idempotencyReplayed] != nil { record?.set(\.isReplayed, true) }
        for (name, value) in self.access.cors.headers(for: request.headers[.origin]) {
            if let field = HTTPField.Name(name), response.headers[field] == nil { response.headers[field] = value }
        }
        return (response, context.endpointPath ?? "none")
    }

    /// The response to a preflight, which a browser sends before a cross-origin request that an HTML form could not make
    /// (Fetch, 3.2.2).
    private func preflight(_ request: Request) -> Response {
        var response = Response(status: .noContent)
        for (name, value) in self.access.cors.preflightHeaders(for: request.headers[.origin]) {
            if let field = HTTPField.Name(name) { response.headers[field] = value }
        }
        return response
    }

    /// The problem for an error of a route or the router. Logs an error that no route expects.
    private func problem(for error: any Error, request id: String, path: String) -> HTTPProblem {
        switch error {
        case let problem as HTTPProblem: return problem
        case let error as StoreError: return HTTPProblem(error)
        case let error as AccessError: return HTTPProblem(error)
        case let error as any HTTPResponseError: return Self.problem(for: error)
        default:
            self.logger.error("Request failed", metadata: ["error": "\(error)", "path": "\(path)", "request": "\(id)"])
            return HTTPProblem(.internalServerError, "internal", "Internal error; the hub's log has the cause.")
        }
    }

    /// The problem for an error of Hummingbird, such as an unknown route.
    private static func problem(for error: any HTTPResponseError) -> HTTPProblem {
        switch error.status {
        case .notFound:
            HTTPProblem(
                .notFound, "not_found", "No route for this method and path; see docs/PROTOCOL.md.")
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
        let access: RequestAccess
        let record: RequestRecord?
    }

    var coreContext: CoreRequestContextStorage
    /// The principal of the request; ``AccessMiddleware`` sets it on the routes under `/v1`.
    var principal = Principal.open
    /// The client's IP address.
    let remote: String
    /// What the request's head has decided about its access.
    let access: RequestAccess
    /// The access log's record of the request; `nil` if the request is not logged.
    let record: RequestRecord?

    init(source: Source) {
        self.coreContext = .init(source: source)
        self.remote = source.remote
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
    ///   - path: the target up to the `?`.
    ///   - isSecure: whether the client is known to use https.
    func decide(_ head: HTTPRequest, path: Substring, isSecure: Bool) -> HeadDecision {
        // The router skips empty segments, so `//v1/flows` is a route of `/v1` too.
        let isPreflight = head.method == .options && head.headerFields[.accessControlRequestMethod] != nil
        let segment = path.utf8.drop { $0 == UInt8(ascii: "/") }.prefix { $0 != UInt8(ascii: "/") }
        guard segment.elementsEqual("v1".utf8), !isPreflight else { return .decided(.notNeeded) }
        if self.verifier.isOpen { return .decided(.granted(.open)) }
        if head.method == .delete, path == SessionRoutes.path { return .decided(.notNeeded) }
        let query = (head.path ?? "")[path.endIndex...].dropFirst()
        do throws(AccessError) {
            let token = try self.token(of: head, query: query, isSecure: isSecure)
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
    private func token(of head: HTTPRequest, query: Substring?, isSecure: Bool) throws(AccessError) -> String {
        let found = TokenSource.token(
            authorization: head.headerFields[.authorization], cookie: head.headerFields[.cookie], query: query)
        guard let found else { throw .tokenMissing }
        if found.source == .cookie, ![HTTPRequest.Method.get, .head, .options].contains(head.method) {
            let isAllowed = self.cors.isListedOrOwn(
                origin: head.headerFields[.origin], host: head.authority, isSecure: isSecure)
            guard isAllowed else { throw .originForbidden }
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
        return try await next(request, context)
    }
}
