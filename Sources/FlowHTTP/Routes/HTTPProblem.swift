import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// An error response, `application/problem+json` (RFC 9457), with a stable `code` and a `detail` for people. It is no
/// `HTTPResponseError`: the router would answer it without the request's id.
struct HTTPProblem: Error {
    var status: HTTPResponse.Status
    var code: String
    var detail: String
    var headers: HTTPFields = [:]
    /// Additional JSON members of the problem document.
    var members: [(name: String, value: JSONText)] = []
    /// The id of the request; `nil` before it is known.
    var requestID: String?
    /// Why the request was rejected, for the log; `nil` if ``detail`` says it.
    var rejection: RejectionReason?
    /// What a store or a service said about its failure, for the log. It may name tables, hosts and codes of errors, which are
    /// nobody's business but the operator's; clients find the line by the request's id.
    var cause: String?

    /// - Parameters:
    ///   - code: stable identifier of the kind of error.
    ///   - detail: what went wrong and what to do, as sentences.
    init(_ status: HTTPResponse.Status, _ code: String, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

    /// The body of the response.
    var document: JSONText {
        .object { writer in
            writer.key("type")
            writer.value("about:blank")
            writer.key("title")
            writer.value(self.status.reasonPhrase)
            writer.key("status")
            writer.value(self.status.code)
            writer.key("code")
            writer.value(self.code)
            writer.key("detail")
            writer.value(self.detail)
            for member in self.members {
                writer.key(member.name)
                writer.raw(member.value)
            }
            if let requestID = self.requestID {
                writer.key("request_id")
                writer.value(requestID)
            }
        }
    }

    /// The complete response.
    var response: Response {
        var headers = self.headers
        headers[.contentType] = "application/problem+json"
        headers[.cacheControl] = "no-store"
        if let requestID = self.requestID { headers[.requestID] = requestID }
        return Response(status: self.status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: self.document.bytes)))
    }
}

extension HTTPProblem {
    /// The response to a request that is not authenticated or not permitted.
    init(_ error: AccessError) {
        self.init(error.status == 403 ? .forbidden : .unauthorized, error.code, error.message)
        self.rejection = RejectionReason(reason: error.reason, claim: error.claim, seen: error.seen)
        if let challenge = error.challenge { self.headers[.wwwAuthenticate] = challenge }
    }

    /// The response to a malformed request for a stream.
    init(_ error: StreamRequest.Malformed) {
        self.init(error.status, error.code, error.detail)
    }

    /// The response to a request that failed because of an error of the store; 503 with `Retry-After`, except for a value that the
    /// store cannot hold.
    init(_ error: StoreError) {
        switch error {
        case .unavailable:
            self.init(
                .serviceUnavailable, "store_unavailable", "The store is unavailable. Nothing was changed. Retry later.")
        case .overloaded:
            self.init(
                .serviceUnavailable, "overloaded", "The hub is overloaded. Nothing was changed. Retry shortly.")
        case .invalidValue:
            self.init(
                .badRequest, "bad_value",
                "The store cannot hold a value of the request. Nothing was changed. Send text without NUL, and numbers of 64 bits."
            )
            self.cause = error.description
            return
        case .outcomeUnknown:
            self.init(
                .serviceUnavailable, "outcome_unknown",
                "The connection to the store was lost during the commit: it is unknown whether the change was saved. Retry "
                    + "with the same Idempotency-Key, or read the flow.")
        case .epochChanged:
            self.init(
                .serviceUnavailable, "epoch_changed", "The store was restored or failed over. Nothing was changed. Retry.")
        }
        self.headers[.retryAfter] = "1"
        self.cause = error.description
    }

    /// The response to a request whose body is not acceptable JSON.
    init(_ error: JSONError) {
        switch error.code {
        case .depthExceeded: self.init(.badRequest, "json_too_deep", error.description)
        default: self.init(.badRequest, "bad_json", error.description)
        }
    }

    /// The response to a request that would create a flow whose id belongs to another account.
    static var otherAccount: HTTPProblem {
        var problem = HTTPProblem(.forbidden, "forbidden", "This flow id belongs to another account. Use another id.")
        problem.rejection = RejectionReason(reason: "the flow belongs to another account", claim: "client_account_id")
        return problem
    }

    /// The response to a request with a query parameter that no store can hold.
    static func unreadableParameter(_ name: String) -> HTTPProblem {
        HTTPProblem(
            .badRequest, "bad_parameter",
            "The parameter \(name) has control characters, or is not UTF-8. Send text in UTF-8, percent-encoded, without them.")
    }

    /// The response to a request that would increase what the account stores above a limit.
    static func accountLimit(_ resource: AccountResource, _ limit: Int) -> HTTPProblem {
        let (seen, remedy) =
            switch resource {
            case .flows: ("\(limit) flows (FLOWHUB_MAX_ACCOUNT_FLOWS)", "Delete flows.")
            case .ids:
                (
                    "\(limit) flow ids, those of deleted flows included (FLOWHUB_MAX_ACCOUNT_IDS)",
                    "The ids of deleted flows become free after FLOWHUB_TOMBSTONE_SECONDS; until then, use them again."
                )
            case .states: ("\(limit) bytes of states (FLOWHUB_MAX_ACCOUNT_STATE_BYTES)", "Shorten states or delete flows.")
            case .history:
                (
                    "\(limit) bytes of events (FLOWHUB_MAX_ACCOUNT_HISTORY_BYTES)",
                    "Publish less; old events are pruned after FLOWHUB_HISTORY_SECONDS."
                )
            case .revocations:
                (
                    "\(limit) revoked subjects (FLOWHUB_MAX_ACCOUNT_REVOCATIONS)",
                    "Revocations end with the tokens that they revoke (FLOWHUB_JWT_MAX_SECONDS)."
                )
            case .imports: ("\(limit) imports (FLOWHUB_MAX_ACCOUNT_STORED_IMPORTS)", "Delete imports.")
            }
        return HTTPProblem(
            .tooManyRequests, "account_\(resource.rawValue)_full",
            "The account has its maximum of \(seen). Nothing was changed. \(remedy)")
    }

    /// The response to a request with an invalid flow id.
    static var badFlowID: HTTPProblem { HTTPProblem(StreamRequest.badFlowID) }

    /// A 404.
    /// - Parameter detail: what was not found, as a sentence.
    static func notFound(_ detail: String) -> HTTPProblem { HTTPProblem(.notFound, "not_found", detail) }
}
