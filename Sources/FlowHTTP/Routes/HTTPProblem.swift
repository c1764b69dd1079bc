import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// An error response, `application/problem+json` (RFC 9457), with a stable `code` and a `detail` for people.
struct HTTPProblem: Error, HTTPResponseError {
    var status: HTTPResponse.Status
    var code: String
    var detail: String
    var headers: HTTPFields = [:]
    /// Additional members of the document.
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
                "The store is unavailable (\(reason)). Nothing was changed. Retry later.")
        case .overloaded(let reason):
            self.init(
                .serviceUnavailable, "overloaded",
                "The hub is overloaded (\(reason)). Retry shortly.")
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
    }

    init(_ error: JSONError) {
        switch error.code {
        case .depthExceeded: self.init(.badRequest, "json_too_deep", error.description)
        default: self.init(.badRequest, "bad_json", error.description)
        }
    }

    /// The response for a flow that belongs to another account.
    static var otherAccount: HTTPProblem {
        HTTPProblem(.forbidden, "forbidden", "The flow belongs to another account.")
    }

    static var badFlowID: HTTPProblem { HTTPProblem(StreamRequest.badFlowID) }

    static func notFound(_ what: String) -> HTTPProblem { HTTPProblem(.notFound, "not_found", what) }
}
