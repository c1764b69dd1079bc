import FlowCore

/// An error response: from the hub with problem details (`application/problem+json`, RFC 9457), or from a proxy with only a
/// status.
struct HubProblem: Hashable, Sendable {
    let status: Int
    /// The problem code; `nil` if the response did not come from the hub.
    let code: String?
    let detail: String?
    /// The position of the error in the request body, if the hub sent it: lines and columns from 1, records from 0.
    let line: Int64?
    let column: Int64?
    let record: Int64?

    init(status: Int, body: [UInt8]) {
        self.status = status
        let problem = try? JSONText(validating: body)
        self.code = problem?.member("code")?.stringValue
        self.detail = problem?.member("detail")?.stringValue ?? problem?.member("title")?.stringValue
        self.line = problem?.member("line")?.intValue
        self.column = problem?.member("column")?.intValue
        self.record = problem?.member("record")?.intValue
    }

    /// `line 3, column 17, record 2`, without parts that the detail already contains; `nil` if no part remains.
    private var position: String? {
        let parts = [("line", self.line), ("column", self.column), ("record", self.record)]
        let detailText = self.detail?.lowercased() ?? ""
        let text = parts.compactMap { name, number in number.map { "\(name) \($0)" } }.filter { !detailText.contains($0) }
        return text.isEmpty ? nil : text.joined(separator: ", ")
    }

    /// A message for the terminal, with advice for some statuses.
    var message: String {
        var text = "The hub answered \(self.status)"
        if let code = self.code { text += " (\(Terminal.sanitized(code)))" }
        if let detail = self.detail { text += ": \(Terminal.sanitized(detail))" }
        if let position = self.position { text += (text.hasSuffix(".") ? " At " : ", at ") + position }
        if !text.hasSuffix(".") { text += "." }
        switch self.status {
        case 401 where self.detail == nil: text += " Pass a token with --token or FLOWHUB_TOKEN."
        case 300..<400: text += " Pass the target of the redirect as --url."
        case 404 where self.code == nil: text += " Check --url."
        case 409 where self.code == nil: text += " The request conflicts with another one."
        case 412 where self.detail == nil: text += " Read the state and retry."
        default: break
        }
        return text
    }

    var failure: CommandFailure {
        switch self.status {
        case 409, 412: CommandFailure(.conditionFailed, self.message)
        case 300..<500: CommandFailure(.rejected, self.message)
        default: CommandFailure(.unreachable, self.message)
        }
    }
}
