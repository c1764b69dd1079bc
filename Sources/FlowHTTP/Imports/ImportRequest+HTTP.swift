import FlowCore
import HTTPTypes
import Hummingbird

extension ImportRequest {
    /// Bytes of a file's name, and of a source's type.
    private static let maximumFileName = 255
    private static let maximumSourceType = 64

    /// What a request asks for.
    init(_ request: Request, _ context: HubContext) throws {
        let parameters = QueryParameters(request.querySubstring)
        var flow: FlowID?
        if let text = parameters.first("flow_id") {
            guard let named = FlowID(text) else { throw HTTPProblem.badFlowID }
            guard context.principal.mayPublish(named) else { throw AccessError.forbidden(need: "this flow under flows.publish") }
            flow = named
        }
        if let coding = request.headers[.contentEncoding]?.lowercased(), coding != "gzip", coding != "identity" {
            var problem = HTTPProblem(
                .unsupportedMediaType, "unsupported_content_encoding",
                "Send the import plain or as gzip, not \(coding.prefix(40)).")
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

    /// A parameter that is shown to people and is part of no key, path or statement.
    private static func text(_ parameters: QueryParameters, _ name: String, maximum: Int) throws -> String? {
        guard let text = parameters.first(name), !text.isEmpty else { return nil }
        let hasControls = text.unicodeScalars.contains { $0.properties.generalCategory == .control }
        guard text.utf8.count <= maximum, !hasControls else {
            throw HTTPProblem(
                .badRequest, "bad_parameter", "\(name) has up to \(maximum) bytes of UTF-8 and no control characters.")
        }
        return text
    }

    /// - Returns: `nil` if nobody says so; then the first bytes tell.
    private static func format(_ parameters: QueryParameters, _ request: Request) throws -> ImportFormat? {
        if let text = parameters.first("format") {
            guard let format = ImportFormat(rawValue: text) else {
                throw HTTPProblem(.badRequest, "bad_parameter", "format is json, ndjson or csv.")
            }
            return format
        }
        return switch request.mediaType {
        case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines": .ndjson
        case "text/csv", "application/csv", "text/tab-separated-values": .csv
        // What programs say that know no better; JSON of either kind begins like nothing else.
        default: nil
        }
    }
}
