import FlowCore
import HTTPTypes
import Logging
import Synchronization
import Testing

@testable import FlowHTTP

@Suite struct RejectionLogTests {
    @Test func rejectionIsLoggedWithClaimAndReason() throws {
        let lines = RecordedLines(logLevel: .debug)
        let log = RejectionLog(logger: Logger(label: "test") { _ in lines }, cors: try CORSPolicy(origins: ["https://a"]))
        let error = AccessError.tokenInvalid(
            "the claim iss is wrong", claim: "iss", seen: String(repeating: "x", count: 500), remedy: "Correct it.")
        log.log(HTTPProblem(error), id: "r1", remote: "192.0.2.1")
        log.log(HTTPProblem.badFlowID, id: "r2", remote: "192.0.2.1")
        log.log(HTTPProblem(.notFound, "not_found", "None."), id: "r3", remote: "192.0.2.1")
        log.log(HTTPProblem(StoreError.unavailable("secret")), id: "r4", remote: "192.0.2.1")
        #expect(lines.lines.count == 2, "\(lines.lines)")
        let first = try #require(lines.lines.first)
        #expect(first.hasPrefix("Request rejected claim=iss code=token_invalid reason=the claim iss is wrong remote=192.0.2.1"))
        #expect(first.contains("seen=" + String(repeating: "x", count: 80)) && !first.contains(String(repeating: "x", count: 81)))
        #expect(lines.lines[1].contains("code=bad_flow_id") && lines.lines[1].contains("request=r2"))
    }

    @Test func pageOfUnlistedOriginIsLogged() throws {
        let lines = RecordedLines(logLevel: .debug)
        let log = RejectionLog(logger: Logger(label: "test") { _ in lines }, cors: try CORSPolicy(origins: ["https://a"]))
        func ask(_ origin: String?) {
            var head = HTTPRequest(method: .get, scheme: "http", authority: "hub.example", path: "/v1/flows")
            head.headerFields[.origin] = origin
            log.logOrigin(of: head, id: "r", remote: "192.0.2.1")
        }
        for origin in [nil, "https://a", "http://hub.example", "https://hub.example"] { ask(origin) }
        #expect(lines.lines.isEmpty, "\(lines.lines)")
        ask("https://b")
        #expect(lines.lines.count == 1 && lines.lines[0].contains("seen=https://b"), "\(lines.lines)")
    }

    @Test func linesPerSecondAreLimitedAndSuppressedOnesAreCounted() throws {
        let lines = RecordedLines(logLevel: .debug)
        let log = RejectionLog(logger: Logger(label: "test") { _ in lines }, cors: .none)
        let start = ContinuousClock.now
        for _ in 0..<100 { log.log(HTTPProblem.badFlowID, id: "r", remote: "", now: start) }
        #expect(lines.lines.count == RejectionLog.linesPerSecond)
        log.log(HTTPProblem.badFlowID, id: "r", remote: "", now: start + .seconds(1))
        #expect(lines.lines.count == RejectionLog.linesPerSecond + 1)
        #expect(lines.lines.last?.contains("suppressed=\(100 - RejectionLog.linesPerSecond)") == true, "\(lines.lines)")
    }

    @Test func nothingIsLoggedAboveLevelDebug() {
        let lines = RecordedLines(logLevel: .info)
        RejectionLog(logger: Logger(label: "test") { _ in lines }, cors: .none).log(HTTPProblem.badFlowID, id: "r", remote: "")
        #expect(lines.lines.isEmpty)
    }
}

/// A log handler that records its lines.
private struct RecordedLines: LogHandler {
    private final class Storage: Sendable {
        let lines = Mutex<[String]>([])
    }

    private let storage = Storage()
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level

    init(logLevel: Logger.Level) { self.logLevel = logLevel }

    var lines: [String] { self.storage.lines.withLock { $0 } }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let metadata = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " ")
        self.storage.lines.withLock { $0.append("\(event.message) \(metadata)") }
    }
}
