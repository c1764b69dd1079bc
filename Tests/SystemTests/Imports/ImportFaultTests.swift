import FlowCore
import FlowTestKit
import Testing

/// Faults at each request of an upload to R2. The result is one correct object or a clean failure, and the ledger never refers
/// to a missing object.
@Suite(.serialized, .s3(), .postgres()) struct ImportFaultTests {
    /// A request of an upload: its operation, and its index from 0 among the requests with this operation.
    struct FaultPoint: Hashable, Sendable {
        var operation: ProxyOperation
        var number: Int
    }

    private static let faults: [R2Fault] = [
        .internalError, .unavailable, .tooManyRequests(retryAfter: 1), .resetRequest(afterBytes: 100_000), .loseReply,
        .errorInBody(code: "InternalError", isApplied: false), .errorInBody(code: "InternalError", isApplied: true), .wrongETag,
        .answer(503, code: "SlowDown", isEarly: true), .truncateReply(afterBytes: 10), .stall(isApplied: false),
        .stall(isApplied: true),
    ]

    // The claim is long enough that a large upload on a busy machine is not swept.
    private static let environment = ["FLOWHUB_IMPORT_CLAIM_SECONDS": "10", "FLOWHUB_R2_STALL_SECONDS": "1"]

    /// The requests to R2 of an upload without faults.
    static func faultPoints(_ fixture: ImportHubFixture, _ sample: ImportSample) async throws -> [FaultPoint] {
        let proxy = try fixture.proxy
        proxy.forget()
        let reply = try await fixture.hub.uploadImport(sample, flow: "clean-\(sample.records)")
        try #require(reply.status == 201, "\(reply.text)")
        var faultPoints: [FaultPoint] = []
        for request in proxy.requests {
            let before = faultPoints.filter { $0.operation == request.operation }.count
            faultPoints.append(FaultPoint(operation: request.operation, number: before))
        }
        return faultPoints
    }

    @Test func uploadSendsExpectedRequests() async throws {
        try await ImportHubFixture.running(.r2, Self.environment) { fixture in
            #expect(try await Self.faultPoints(fixture, .small).map(\.operation) == [.putObject])
            let large = try await Self.faultPoints(fixture, .large).map(\.operation)
            #expect(large.first == .createUpload && large.last == .completeUpload)
            #expect(large.dropFirst().dropLast() == [.uploadPart, .uploadPart, .uploadPart])
            try await fixture.expectConsistent(["clean-300": .small, "clean-1900": .large])
        }
    }

    /// Several hubs at the same time, each with some of the faults: most of a case is waiting between two attempts.
    @Test func uploadSurvivesTemporaryFault() async {
        await concurrently([ImportSample.small, .large].flatMap { sample in (0..<3).map { (sample, $0) } }) { sample, part in
            let faults = Self.faults.enumerated().filter { $0.offset % 3 == part }
            try await Self.uploadUnderTemporaryFaults(sample, faults)
        }
    }

    private static func uploadUnderTemporaryFaults(
        _ sample: ImportSample, _ faults: [(offset: Int, element: R2Fault)]
    ) async throws {
        try await ImportHubFixture.running(.r2, Self.environment) { fixture in
            let faultPoints = try await Self.faultPoints(fixture, sample)
            var turn = Int.random(in: 0..<faultPoints.count)
            for (number, fault) in faults {
                // In a full run all requests; otherwise one per fault, starting with a random one.
                for faultPoint in TestScale.isFull ? faultPoints : [faultPoints[turn % faultPoints.count]] {
                    let flow = "flow-\(number)-\(faultPoint.operation)-\(faultPoint.number)"
                    try await Self.uploadImport(sample, flow, fault, faultPoint, fixture)
                }
                turn += 1
            }
            try await fixture.expectNothingToSweep()
        }
    }

    private static func uploadImport(
        _ sample: ImportSample, _ flow: String, _ fault: R2Fault, _ faultPoint: FaultPoint, _ fixture: ImportHubFixture
    ) async throws {
        let proxy = try fixture.proxy
        proxy.forget()
        proxy.inject(fault, on: faultPoint.operation, skipping: faultPoint.number)
        let reply = try await fixture.hub.uploadImport(sample, flow: flow)
        let comment: Comment = "\(fault) at \(faultPoint.operation) \(faultPoint.number): \(reply.text)"
        #expect(proxy.faultsRemaining == 0, comment)
        #expect(reply.status == 201, comment)
        proxy.clearFaults()
        proxy.release()
        // If the response to createUpload was lost, the hub does not know the upload. A sweep removes it.
        let remaining = try await fixture.uploads().count
        if remaining > 0 {
            #expect(proxy.requests(.createUpload).count > remaining, comment)
            try await Self.sweepUploads(fixture)
        }
        try await fixture.expectConsistent([flow: sample], comment)
        // Without this the disk would fill up.
        guard let id = reply.json.member("id")?.stringValue else { return }
        #expect(try await fixture.hub.call("DELETE", "/v1/imports/\(id)").status == 204)
        #expect(try await fixture.ledger().contains { $0.id == id } == false)
    }

    private static func sweepUploads(_ fixture: ImportHubFixture) async throws {
        // The S3 server rounds times up to whole seconds, so a new upload is not old enough at first.
        try await eventually("the sweep of unfinished uploads") {
            let report = try await fixture.sweepReport(isDryRun: false)
            #expect(report.contains("0 objects and") && report.contains(" 0 objects missing"), "\(report)")
            return try await fixture.uploads().isEmpty
        }
    }

    // MARK: Permanent faults

    /// Permanent faults, each with its operation (`nil`: all). Some let R2 apply the request, so that the hub finds the object.
    private static let permanentFaults: [(R2Fault, ProxyOperation?)] = {
        let operations: [ProxyOperation?] = [nil, .createUpload, .uploadPart, .completeUpload, .putObject]
        let all = Self.faults.flatMap { fault in operations.map { (fault, $0) } }
        // Each fault and each operation once, in pairs that differ between runs.
        let first = Int.random(in: 0..<operations.count)
        return TestScale.isFull
            ? all : Self.faults.enumerated().map { ($0.element, operations[(first + $0.offset) % operations.count]) }
    }()

    /// Several hubs at the same time, each with some of the faults: most of a case is waiting between two attempts.
    @Test func importStaysConsistentUnderPermanentFault() async {
        await concurrently(0..<4) { part in
            try await Self.uploadUnderPermanentFaults(Self.permanentFaults.enumerated().filter { $0.offset % 4 == part })
        }
    }

    private static func uploadUnderPermanentFaults(
        _ faults: [(offset: Int, element: (R2Fault, ProxyOperation?))]
    ) async throws {
        let environment = Self.environment.merging(["FLOWHUB_R2_ATTEMPTS": "2"]) { $1 }
        try await ImportHubFixture.running(.r2, environment) { fixture in
            let proxy = try fixture.proxy
            for (number, (fault, operation)) in faults {
                let flow = "flow-\(number)"
                proxy.forget()
                proxy.inject(fault, on: operation, times: 1_000)
                let sample = operation == .putObject || operation == nil && number % 2 == 0 ? ImportSample.small : .large
                let reply = try await fixture.hub.uploadImport(sample, flow: flow, key: flow)
                let comment: Comment = "\(fault) at \(operation.map { "\($0)" } ?? "everything"): \(reply.text)"
                #expect(proxy.faultsRemaining < 1_000, comment)
                proxy.clearFaults()
                proxy.release()
                if reply.status != 201 { #expect(reply.status >= 500 && reply.problemCode != nil, comment) }
                try await fixture.settle()
                let entries = try await fixture.ledger().filter { $0.flow == flow }
                #expect(entries.map(\.status) == [reply.status == 201 ? "stored" : "failed"], comment)
                if reply.status == 201 { try await Self.sweepUploads(fixture) }
                try await fixture.expectConsistent([flow: sample], comment)
            }
            // Failed imports have released their idempotency keys.
            let again = try await fixture.hub.uploadImport(.small, flow: "again", key: "flow-\(faults[0].offset)")
            #expect(again.status == 201 || again.status == 422)
            try await fixture.expectNothingToSweep()
        }
    }
}

extension ImportSample: CustomTestStringConvertible {
    var testDescription: String { "\(self.records) records" }
}
