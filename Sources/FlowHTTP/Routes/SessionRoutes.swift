import FlowCore
import HTTPTypes
import Hummingbird

/// The routes of the session: they set and remove the cookie that carries the token, for an `EventSource`, which can set no header.
/// Nothing of a session is stored: it is the token.
struct SessionRoutes: Sendable {
    /// The path, under which `DELETE` needs no token: a browser must be able to remove a cookie whose token was revoked.
    static let path = "/v1/session"

    let access: AccessControl
    let now: @Sendable () -> Timestamp

    /// Adds the routes.
    /// - Parameters:
    ///   - group: the routes that need a token.
    ///   - router: the other routes.
    func add(to group: RouterGroup<HubContext>, and router: Router<HubContext>) {
        group.post("session", use: self.begin)
        router.delete(RouterPath(Self.path), use: self.end)
    }

    /// `POST /v1/session`: sets the cookie to the token in the `Authorization` header. A hub without keys sets none, and needs none.
    ///
    /// Only the header counts: no page of another site can send it without being allowed by a preflight. If the token could be in
    /// the query, any page could make a browser use the token of somebody else.
    @Sendable private func begin(_ request: Request, _ context: HubContext) async throws -> Response {
        try self.checkOrigin(of: request, context)
        if context.principal.isOpen { return Self.answer(expiresAt: nil, cookie: nil) }
        let found = TokenSource.token(
            authorization: request.headers[.authorization], cookie: nil, query: request.uri.query.map { Substring($0) })
        guard let found, found.source == .bearer else { throw Self.headerMissing }
        guard SessionCookie.fits(found.token) else {
            throw HTTPProblem(
                .unprocessableContent, "token_too_long",
                "The token has \(found.token.utf8.count) bytes. Browsers store no cookie of more than "
                    + "\(SessionCookie.maximumBytes) bytes. Request a token with fewer claims.")
        }
        let now = self.now().seconds
        let end = context.principal.expiresAt
        // Within the leeway a token is valid for a moment after its end, but a cookie of it would never be sent.
        if let end, end <= now { throw AccessError.tokenExpired }
        let cookie = SessionCookie.setting(found.token, expiresAt: end, now: now, isSecure: Self.isSecure(request, context))
        return Self.answer(expiresAt: end, cookie: cookie)
    }

    /// `DELETE /v1/session`: removes the cookie. The token stays valid; `POST /v1/revocations` ends it.
    @Sendable private func end(_ request: Request, _ context: HubContext) async throws -> Response {
        try self.checkOrigin(of: request, context)
        var response = Response(status: .noContent, headers: [.cacheControl: "no-store"])
        response.headers[.setCookie] = SessionCookie.clearing(isSecure: Self.isSecure(request, context))
        return response
    }

    // MARK: Private

    private static var headerMissing: HTTPProblem {
        var problem = HTTPProblem(AccessError.tokenMissing)
        problem.detail = "Send the token as Authorization: Bearer <token>: a session begins with the header only."
        return problem
    }

    /// Rejects requests of pages that are neither listed nor the hub's own. Programs send no `Origin`.
    private func checkOrigin(of request: Request, _ context: HubContext) throws(AccessError) {
        guard let origin = request.headers[.origin] else { return }
        let isAllowed = self.access.cors.isListedOrOwn(
            origin: origin, host: request.head.authority, isSecure: context.isSecure)
        guard isAllowed else { throw .originForbidden(seen: origin) }
    }

    /// Whether the cookie is marked `Secure`: always, except if the browser reached a loopback address without TLS.
    private static func isSecure(_ request: Request, _ context: HubContext) -> Bool {
        guard let host = request.head.authority, KeylessAccess.isLoopback(host), !context.isSecure else { return true }
        return request.headers[.origin]?.hasPrefix("https:") ?? false
    }

    private static func answer(expiresAt: Int64?, cookie: String?) -> Response {
        var response = Response.json(
            .object { writer in
                writer.key("expires_at")
                if let expiresAt {
                    writer.value(Timestamp(milliseconds: expiresAt * 1_000).description)
                } else {
                    writer.null()
                }
            })
        if let cookie { response.headers[.setCookie] = cookie }
        return response
    }
}
