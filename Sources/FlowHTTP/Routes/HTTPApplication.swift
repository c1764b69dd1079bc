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
    /// - Returns: the response, and the route pattern that produced it, as a label for the metrics.
    func respond(to request: Request, channel: any Channel, remote: String) async -> (Response, route: String) {
        if request.method == .options, request.headers[.accessControlRequestMethod] != nil {
            return (self.preflight(request), "preflight")
        }
        let context = HubContext(source: HubContext.Source(channel: channel, logger: self.logger, remote: remote))
        var response: Response
        do {
            response = try await self.responder.respond(to: request, context: context)
            // For an unknown route the router returns a 404 without a body.
            if response.status == .notFound, response.headers[.contentType] == nil {
                response = Self.problem(for: HTTPError(.notFound)).response
            }
        } catch let problem as HTTPProblem {
            response = problem.response
        } catch let error as StoreError {
            response = HTTPProblem(error).response
        } catch let error as AccessError {
            response = HTTPProblem(error).response
        } catch let error as any HTTPResponseError {
            response = Self.problem(for: error).response
        } catch {
            self.logger.error("Request failed", metadata: ["error": "\(error)", "path": "\(request.uri.path)"])
            response =
                HTTPProblem(.internalServerError, "internal", "Internal error; the hub's log has the cause.").response
        }
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
    }

    var coreContext: CoreRequestContextStorage
    /// The principal of the request; ``AccessMiddleware`` sets it on the routes under `/v1`.
    var principal = Principal.open
    /// The client's IP address.
    let remote: String

    init(source: Source) {
        self.coreContext = .init(source: source)
        self.remote = source.remote
    }
}

/// Authentication of requests: verifies the token, checks revocations, and checks the `Origin` of requests that modify data
/// with the cookie.
struct AccessControl: Sendable {
    let verifier: TokenVerifier
    let cors: CORSPolicy
    let proxies: TrustedProxies
    /// Whether the tokens of a principal are revoked.
    let isRevoked: @Sendable (Principal) -> Bool
    let now: @Sendable () -> Timestamp

    /// Why a hub without keys does not answer a request; `nil` if it does, and on a hub with keys.
    /// - Parameters:
    ///   - path: the request's path, without the query.
    ///   - checksHost: `false` on the operations listener, which may listen on other than loopback addresses.
    func keylessRejection(of head: HTTPRequest, path: Substring, checksHost: Bool) -> KeylessAccess.Rejection? {
        self.verifier.isOpen
            ? KeylessAccess(cors: self.cors, checksHost: checksHost).rejection(of: head, path: path) : nil
    }

    /// The principal of an ordinary request.
    /// - Throws: ``AccessError`` if the token is missing, invalid, expired or revoked, or if a request that modifies data
    ///   uses the cookie without an allowed `Origin`.
    func principal(for request: Request) async throws(AccessError) -> Principal {
        if self.verifier.isOpen { return .open }
        let found = TokenSource.token(
            authorization: request.headers[.authorization], cookie: request.headers[.cookie],
            query: request.uri.query.map { Substring($0) })
        guard let found else { throw .tokenMissing }
        if found.source == .cookie, ![HTTPRequest.Method.get, .head, .options].contains(request.method) {
            let isAllowed = self.cors.isListedOrOwn(origin: request.headers[.origin], host: request.head.authority)
            guard isAllowed else { throw .originForbidden }
        }
        let principal = try await self.verifier.verify(found.token, now: self.now().seconds)
        if self.isRevoked(principal) { throw .tokenRevoked }
        return principal
    }
}

/// Authenticates the requests of a group of routes and sets their principal.
struct AccessMiddleware: RouterMiddleware {
    let access: AccessControl

    /// Sets the principal of the request, then calls the next handler.
    /// - Throws: ``AccessError`` if the request is not authenticated.
    @concurrent
    func handle(
        _ request: Request, context: HubContext, next: @concurrent (Request, HubContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.principal = try await self.access.principal(for: request)
        return try await next(request, context)
    }
}
