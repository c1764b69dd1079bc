import FlowTestKit
import Testing

/// A line of the hub's log as text: `<time> <level> <message> <key>=<value> …`.
struct AccessLogLine: Sendable {
    let message: String
    let values: [String: String]

    init(_ line: some StringProtocol) {
        let text = String(line)
        let pairs = text.matches(of: /\ ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\ ]+)/)
        self.values = Dictionary(pairs.map { (String($0.output.1), String($0.output.2)) }) { $1 }
        let head = text[..<(pairs.first?.range.lowerBound ?? text.endIndex)]
        self.message = head.split(separator: " ").dropFirst(2).joined(separator: " ")
    }

    subscript(_ key: String) -> String? { self.values[key] }

    /// `method route status`, and the values of further keys.
    func summary(_ keys: String...) -> String {
        (["method", "route", "status"] + keys).map { self[$0] ?? "-" }.joined(separator: " ")
    }
}

extension HubProcess {
    /// The lines of the access log with this message.
    func accessLog(_ message: String) -> [AccessLogLine] {
        self.log.split(separator: "\n").map { AccessLogLine($0) }.filter { $0.message == message && $0["request"] != nil }
    }

    /// Waits for the lines of the access log with this message.
    func accessLog(_ message: String, count: Int) async throws -> [AccessLogLine] {
        try await eventually("\(count) lines \(message)") { self.accessLog(message).count >= count }
        return self.accessLog(message)
    }

    /// Waits for the line of the access log about a request.
    func accessLogLine(of request: String, _ message: String = "Request") async throws -> AccessLogLine {
        try await eventually("\(message) of \(request)") { self.accessLog(message).contains { $0["request"] == request } }
        return try #require(self.accessLog(message).first { $0["request"] == request })
    }
}
