import FlowCore

/// Why the hub said no, from an `application/problem+json` answer (RFC 9457) or what else came in its place.
struct HubProblem: Hashable, Sendable {
    let status: Int
    /// The stable name of the reason; `nil` if the answer was not the hub's.
    let code: String?
    let detail: String?
    /// Where in a request's body it went wrong, if the hub says so: lines and columns count from 1, records from 0.
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

    /// `line 3, column 17, record 2`, but what the detail says already; `nil` if that leaves nothing.
    private var place: String? {
        let parts = [("line", self.line), ("column", self.column), ("record", self.record)]
        let said = self.detail?.lowercased() ?? ""
        let text = parts.compactMap { name, number in number.map { "\(name) \($0)" } }.filter { !said.contains($0) }
        return text.isEmpty ? nil : text.joined(separator: ", ")
    }

    /// For a human, with what to do where that is known.
    var message: String {
        var text = "The hub answered \(self.status)"
        if let code = self.code { text += " (\(Terminal.harmless(code)))" }
        if let detail = self.detail { text += ": \(Terminal.harmless(detail))" }
        if let place = self.place { text += (text.hasSuffix(".") ? " It is in " : ", in ") + place }
        if !text.hasSuffix(".") { text += "." }
        switch self.status {
        case 401 where self.detail == nil: text += " Give a token with --token or FLOWHUB_TOKEN."
        case 300..<400: text += " Give the address it points to as --url."
        case 404 where self.code == nil: text += " Is --url the address of a FlowHub?"
        case 409 where self.code == nil: text += " Somebody else was first."
        case 412: text += " Read the state again and decide anew."
        default: break
        }
        return text
    }

    var failure: CommandFailure {
        switch self.status {
        case 409, 412: CommandFailure(.conditionFailed, self.message)
        case 300..<500: CommandFailure(.refused, self.message)
        default: CommandFailure(.unreachable, self.message)
        }
    }
}
