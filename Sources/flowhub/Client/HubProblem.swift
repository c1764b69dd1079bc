import FlowCore

/// Why the hub said no, from an `application/problem+json` answer (RFC 9457) or what else came in its place.
struct HubProblem: Hashable, Sendable {
    let status: Int
    /// The stable name of the reason; `nil` if the answer was not the hub's.
    let code: String?
    let detail: String?

    init(status: Int, body: [UInt8]) {
        self.status = status
        let problem = try? JSONText(validating: body)
        self.code = problem?.member("code")?.stringValue
        self.detail = problem?.member("detail")?.stringValue ?? problem?.member("title")?.stringValue
    }

    /// For a human, with what to do where that is known.
    var message: String {
        var text = "The hub answered \(self.status)"
        if let code = self.code { text += " (\(Terminal.harmless(code)))" }
        if let detail = self.detail { text += ": \(Terminal.harmless(detail))" }
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
