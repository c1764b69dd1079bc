import FlowCore
import FlowTestKit
import Testing

/// Reads of an import while R2 fails or returns wrong bytes: every complete response is correct.
@Suite(.serialized, .s3(), .postgres()) struct ImportReadFaultTests {
    /// Two gzip members and a part of a third, uploaded in one request.
    private static let sample = ImportSample(records: 280, bytes: 8_192, seed: 3)

    private struct Reading: Sendable {
        var target: String
        var headers: [(name: String, value: String)] = []
    }

    private static let readings = [
        Reading(target: "data"), Reading(target: "data", headers: [("Accept-Encoding", "gzip")]),
        Reading(target: "records?offset=100&limit=100"), Reading(target: "schema"),
    ]

    /// Faults that a retry overcomes.
    private static let temporary: [R2Fault] = [
        .internalError, .unavailable, .tooManyRequests(retryAfter: 1), .resetRequest(), .loseReply,
        .truncateReply(afterBytes: 10), .truncateReply(afterBytes: 700_000), .stall(isApplied: false), .stall(isApplied: true),
        .answer(503, code: "SlowDown", isEarly: true),
    ]

    private static let wrong: [R2Fault] = [
        .corruptReply(atByte: 0), .corruptReply(atByte: 5), .corruptReply(atByte: 1_000), .corruptReply(atByte: 500_000),
        .corruptReply(atByte: 1_500_000), .wrongETag, .errorInBody(code: "InternalError", isApplied: true),
    ]

    private static func running(
        _ body: @Sendable (ImportHubFixture, _ id: String, _ right: [HTTPReply]) async throws -> Void
    ) async throws {
        let environment = ["FLOWHUB_R2_STALL_SECONDS": "1", "FLOWHUB_R2_ATTEMPTS": "3", "FLOWHUB_IMPORT_CACHE_SECONDS": "1"]
        try await ImportHubFixture.running(.r2, environment) { fixture in
            let stored = try await fixture.hub.uploadImport(Self.sample, flow: "job")
            let id = try #require(stored.json.member("id")?.stringValue, "\(stored.text)")
            var right: [HTTPReply] = []
            for reading in Self.readings { right.append(try await Self.read(reading, id, fixture)) }
            #expect(right.allSatisfy { $0.status == 200 })
            #expect(TestDigest.sha256(right[0].body) == Self.sample.documentHash)
            #expect(try await TestDigest.sha256(decompressing: right[1].body) == Self.sample.documentHash)
            #expect(right[2].json.member("records")?.elements.count == 100)
            try await body(fixture, id, right)
        }
    }

    private static func read(_ reading: Reading, _ id: String, _ fixture: ImportHubFixture) async throws -> HTTPReply {
        try await HTTPCaller(port: fixture.hub.port).perform(
            HTTPCall("GET", "/v1/imports/\(id)/\(reading.target)", headers: reading.headers))
    }

    /// Repeats a read until it sends a request to R2, to which the fault is applied.
    /// - Returns: the response; `nil` if it ended early.
    private static func read(
        _ reading: Reading, _ id: String, _ fault: R2Fault, times: Int, _ fixture: ImportHubFixture
    ) async throws -> HTTPReply? {
        let proxy = try fixture.proxy
        proxy.forget()
        proxy.inject(fault, on: .getObject, times: times)
        var reply: HTTPReply?
        // A schema is cached for 1 s.
        try await eventually("a request to R2") {
            do { reply = try await Self.read(reading, id, fixture) } catch is AnswerLost { reply = nil }
            return proxy.faultsRemaining < times
        }
        proxy.clearFaults()
        proxy.release()
        return reply
    }

    // Several hubs at the same time, each with some of the faults: most of a case is waiting between two attempts.

    @Test func readsSurviveTemporaryFaults() async {
        await concurrently(0..<3) { part in
            try await Self.readUnderTemporaryFaults(
                Self.temporary.enumerated().filter { $0.offset % 3 == part }.map { $0.element })
        }
    }

    private static func readUnderTemporaryFaults(_ faults: [R2Fault]) async throws {
        try await Self.running { fixture, id, right in
            var turn = Int.random(in: 0..<Self.readings.count)
            for fault in faults {
                for number in TestScale.isFull ? Array(Self.readings.indices) : [turn % Self.readings.count] {
                    let reply = try await Self.read(Self.readings[number], id, fault, times: 1, fixture)
                    let comment: Comment =
                        "\(fault) at \(Self.readings[number].target): \(reply.map { "\($0.status)" } ?? "none")"
                    let isRight = reply?.body == right[number].body
                    #expect(reply?.status == 200 && isRight, comment)
                }
                turn += 1
            }
        }
    }

    @Test func faultsNeverYieldWrongCompleteResponse() async {
        let cases = Self.wrong.map { ($0, 1) } + (Self.wrong + Self.temporary).map { ($0, 1_000) }
        await concurrently(0..<3) { part in
            try await Self.readUnderFaults(cases.enumerated().filter { $0.offset % 3 == part }.map { $0.element })
        }
    }

    private static func readUnderFaults(_ cases: [(R2Fault, Int)]) async throws {
        try await Self.running { fixture, id, right in
            var turn = Int.random(in: 0..<Self.readings.count)
            for (fault, times) in cases {
                for number in TestScale.isFull ? Array(Self.readings.indices) : [turn % Self.readings.count] {
                    let reply = try await Self.read(Self.readings[number], id, fault, times: times, fixture)
                    let comment: Comment =
                        "\(fault) \(times) times at \(Self.readings[number].target): \(reply.map { "\($0.status) \($0.body.count)" } ?? "none")"
                    guard let reply else { continue }
                    if reply.status == 200 {
                        let isRight = reply.body == right[number].body
                        #expect(isRight, comment)
                    } else {
                        #expect(reply.status >= 500 && reply.problemCode != nil, comment)
                    }
                }
                turn += 1
            }
            // The faults have changed no stored data.
            try await fixture.expectConsistent(["job": Self.sample])
            for number in Self.readings.indices {
                let isRight = try await Self.read(Self.readings[number], id, fixture).body == right[number].body
                #expect(isRight)
            }
        }
    }
}
