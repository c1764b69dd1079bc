import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// An answer that says what went wrong and what to do: `application/problem+json` (RFC 9457) with a stable `code`.
struct HTTPProblem: Error, HTTPResponseError {
    var status: HTTPResponse.Status
    var code: String
    var detail: String
    var headers: HTTPFields = [:]
    /// Further members of the document.
    var members: [(name: String, value: JSONText)] = []

    init(_ status: HTTPResponse.Status, _ code: String, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

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
        }
    }

    var response: Response {
        var headers = self.headers
        headers[.contentType] = "application/problem+json"
        headers[.cacheControl] = "no-store"
        return Response(status: self.status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: self.document.bytes)))
    }

    func response(from request: Request, context: some RequestContext) throws -> Response { self.response }
}

extension HTTPProblem {
    init(_ error: AccessError) {
        self.init(error.status == 403 ? .forbidden : .unauthorized, error.code, error.message)
        if let challenge = error.challenge { self.headers[.wwwAuthenticate] = challenge }
    }

    init(_ error: StreamRequest.Malformed) {
        self.init(.badRequest, error.code, error.detail)
    }

    init(_ error: StoreError) {
        switch error {
        case .unavailable(let reason):
            self.init(
                .serviceUnavailable, "store_unavailable",
                "The store cannot take this now (\(reason)). Nothing was changed; try again.")
        case .overloaded(let reason):
            self.init(
                .serviceUnavailable, "overloaded",
                "The hub has more to do than it may keep waiting (\(reason)). Try again in a moment.")
        case .outcomeUnknown:
            self.init(
                .serviceUnavailable, "outcome_unknown",
                "The connection to the store was lost during the commit: the change may be durable or not. Read the flow, or repeat "
                    + "the request with its Idempotency-Key.")
        case .epochChanged:
            self.init(.serviceUnavailable, "epoch_changed", "The store was restored just now. Nothing was changed; try again.")
        }
        self.headers[.retryAfter] = "1"
    }

    init(_ error: JSONError) {
        switch error.code {
        case .depthExceeded: self.init(.badRequest, "json_too_deep", error.description)
        default: self.init(.badRequest, "bad_json", error.description)
        }
    }

    /// What is said of a flow that belongs to another account.
    static var otherAccount: HTTPProblem {
        HTTPProblem(.forbidden, "forbidden", "The token does not allow this: the flow belongs to another account.")
    }

    static var badFlowID: HTTPProblem { HTTPProblem(StreamRequest.badFlowID) }

    static func notFound(_ what: String) -> HTTPProblem { HTTPProblem(.notFound, "not_found", what) }
}
