import FlowCore
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// Answers ordinary requests: the router, and what every answer has in common.
struct HTTPApplication: Sendable {
    let access: AccessControl
    private let responder: RouterResponder<HubContext>
    private let logger: Logger

    init(access: AccessControl, router: Router<HubContext>, logger: Logger) {
        self.access = access
        self.responder = router.buildResponder()
        self.logger = logger
    }

    /// - Returns: the answer, and the pattern of the route that made it, for the metrics.
    func respond(to request: Request, channel: any Channel, remote: String) async -> (Response, route: String) {
        if request.method == .options, request.headers[.accessControlRequestMethod] != nil {
            return (self.preflight(request), "preflight")
        }
        let context = HubContext(source: HubContext.Source(channel: channel, logger: self.logger, remote: remote))
        var response: Response
        do {
            response = try await self.responder.respond(to: request, context: context)
            // The router answers what it does not know by itself, without a word.
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
            self.logger.error("A request failed", metadata: ["error": "\(error)", "path": "\(request.uri.path)"])
            response =
                HTTPProblem(.internalServerError, "internal", "The hub failed to answer. The reason is in its log.").response
        }
        for (name, value) in self.access.cors.headers(for: request.headers[.origin]) {
            if let field = HTTPField.Name(name), response.headers[field] == nil { response.headers[field] = value }
        }
        return (response, context.endpointPath ?? "none")
    }

    /// A browser asks before it sends a request that no form could send (Fetch, 3.2.2).
    private func preflight(_ request: Request) -> Response {
        var response = Response(status: .noContent)
        for (name, value) in self.access.cors.preflightHeaders(for: request.headers[.origin]) {
            if let field = HTTPField.Name(name) { response.headers[field] = value }
        }
        return response
    }

    private static func problem(for error: any HTTPResponseError) -> HTTPProblem {
        switch error.status {
        case .notFound:
            HTTPProblem(
                .notFound, "not_found", "There is nothing at this address and method. docs/PROTOCOL.md lists what there is.")
        case .contentTooLarge:
            HTTPProblem(.contentTooLarge, "body_too_large", "The request body is too large.")
        default:
            HTTPProblem(error.status, "refused", error.status.reasonPhrase)
        }
    }
}

/// What a route knows of its request beside the request itself.
struct HubContext: RequestContext {
    struct Source: RequestContextSource {
        let channel: any Channel
        let logger: Logger
        let remote: String
    }

    var coreContext: CoreRequestContextStorage
    /// Who asks; set by ``AccessMiddleware`` on the routes under `/v1`.
    var principal = Principal.open
    let remote: String

    init(source: Source) {
        self.coreContext = .init(source: source)
        self.remote = source.remote
    }
}

/// Who may do what.
struct AccessControl: Sendable {
    let verifier: TokenVerifier
    let cors: CORSPolicy
    let isRevoked: @Sendable (Principal) -> Bool
    let now: @Sendable () -> Timestamp

    /// - Throws: ``AccessError``
    func principal(for request: Request) async throws(AccessError) -> Principal {
        if self.verifier.isOpen { return .open }
        let found = TokenSource.token(
            authorization: request.headers[.authorization], cookie: request.headers[.cookie],
            query: request.uri.query.map { Substring($0) })
        guard let found else { throw .tokenMissing }
        if found.source == .cookie, ![HTTPRequest.Method.get, .head, .options].contains(request.method) {
            let isAllowed = self.cors.permitsCookieWrite(origin: request.headers[.origin], host: request.head.authority)
            guard isAllowed else { throw .originForbidden }
        }
        let principal = try await self.verifier.verify(found.token, now: self.now().seconds)
        if self.isRevoked(principal) { throw .tokenRevoked }
        return principal
    }
}

/// Lets in who shows a token, and answers browsers that ask beforehand.
struct AccessMiddleware: RouterMiddleware {
    let access: AccessControl

    @concurrent
    func handle(
        _ request: Request, context: HubContext, next: @concurrent (Request, HubContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.principal = try await self.access.principal(for: request)
        return try await next(request, context)
    }
}
