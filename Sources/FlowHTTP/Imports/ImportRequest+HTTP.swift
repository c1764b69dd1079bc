import FlowCore
import HTTPTypes
import Hummingbird

extension ImportRequest {
    /// Maximum lengths of `file_name` and `source_type` in bytes.
    private static let maximumFileName = 255
    private static let maximumSourceType = 64

    /// Reads an import request from its query parameters and header fields.
    /// - Throws: ``HTTPProblem`` for an invalid parameter or header field; ``AccessError`` if the token may not publish to
    ///   the flow.
    init(_ request: Request, _ context: HubContext) throws {
        let parameters = QueryParameters(request.querySubstring)
        var flow: FlowID?
        if let text = parameters.first("flow_id") {
            guard let named = FlowID(text) else { throw HTTPProblem.badFlowID }
            guard context.principal.mayPublish(named) else {
                throw AccessError.forbidden(need: "permission to publish to this flow (flows.publish)")
            }
            flow = named
        }
        if let coding = request.headers[.contentEncoding]?.lowercased(), coding != "gzip", coding != "identity" {
            var problem = HTTPProblem(
                .unsupportedMediaType, "unsupported_content_encoding",
                "Content-Encoding must be gzip or identity, not \(coding.prefix(40)).")
            problem.headers[.acceptEncoding] = "gzip, identity"
            throw problem
        }
        self.init(
            account: context.principal.account, flow: flow,
            fileName: try Self.text(parameters, "file_name", maximum: Self.maximumFileName),
            sourceType: try Self.text(parameters, "source_type", maximum: Self.maximumSourceType),
            format: try Self.format(parameters, request), idempotencyKey: try request.idempotencyKey(),
            bytes: request.headers[.contentLength].flatMap { Int($0) }, body: request.body)
    }

    /// A query parameter with free text. The text is only stored and displayed, never part of a key, path or SQL statement.
    /// - Returns: `nil` if the parameter is missing or empty.
    private static func text(_ parameters: QueryParameters, _ name: String, maximum: Int) throws -> String? {
        guard let text = parameters.first(name), !text.isEmpty else { return nil }
        let hasControls = text.unicodeScalars.contains { $0.properties.generalCategory == .control }
        guard text.utf8.count <= maximum, !hasControls else {
            throw HTTPProblem(
                .badRequest, "bad_parameter",
                "The parameter \(name) must have at most \(maximum) bytes of UTF-8 and no control characters.")
        }
        return text
    }

    /// The format that the query parameter `format` names, or without it `Content-Type`.
    /// - Returns: `nil` if neither names a format. The format is then detected from the first bytes of the body.
    private static func format(_ parameters: QueryParameters, _ request: Request) throws -> ImportFormat? {
        if let text = parameters.first("format") {
            guard let format = ImportFormat(rawValue: text) else {
                throw HTTPProblem(.badRequest, "bad_parameter", "The parameter format must be json, ndjson or csv.")
            }
            return format
        }
        return switch request.mediaType {
        case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines": .ndjson
        case "text/csv", "application/csv", "text/tab-separated-values": .csv
        // Clients send `application/json` and generic types for JSON and NDJSON alike, so the body decides.
        default: nil
        }
    }
}
