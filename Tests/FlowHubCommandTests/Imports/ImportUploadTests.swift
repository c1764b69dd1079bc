import FlowTestKit
import Foundation
import Testing

@testable import flowhub

/// Uploads to a server that closes connections, rejects requests, and stalls.
@Suite struct ImportUploadTests {
    private static let created = FakeHub.Answer(201, ImportFixture(records: ["1"]).json())

    private static func upload(_ file: String, to hub: FakeHub, maximumWait: Duration = .seconds(60)) async throws
        -> HubClient.Response
    {
        try await HubClient.withClient(hub: HubURL(hub.url), authorization: "Bearer t") { client in
            let source = try ImportSource(file)
            let bar = ProgressBar(label: "Sending", total: source.length, unit: .bytes, style: .hidden)
            return try await ImportUpload(
                client: client, source: source, target: "/v1/imports?file_name=x", contentType: "text/csv",
                idempotencyKey: "key-1", bar: bar, maximumWait: maximumWait,
                backoff: RetryBackoff(minimumBackoff: 1)
            ).run()
        }
    }

    /// Creates a file of this size with pseudorandom bytes.
    private static func file(_ bytes: Int, in folder: TemporaryFolder) throws -> (path: String, content: [UInt8]) {
        var random = SeededRandom(seed: 7)
        let content = (0..<bytes / 8).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
        let path = folder.path + "/data.csv"
        try Data(content).write(to: URL(fileURLWithPath: path))
        return (path, content)
    }

    @Test func sendsFileWithLengthAndIdempotencyKey() async throws {
        try await withFolder { folder in
            let file = try Self.file(1_000_000, in: folder)
            try await FakeHub.running({ _, _ in .answer(Self.created) }) { hub in
                let response = try await Self.upload(file.path, to: hub)
                #expect(response.status == 201)
                let request = try #require(hub.requests.first)
                #expect(request.method == "POST" && request.target == "/v1/imports?file_name=x")
                #expect(request.header("Content-Length") == "1000000")
                #expect(request.header("Content-Type") == "text/csv")
                #expect(request.header("Idempotency-Key") == "key-1")
                #expect(request.header("Authorization") == "Bearer t")
                #expect(request.body == file.content)
            }
        }
    }

    @Test func sendsEmptyFileAndReportsProblem() async throws {
        try await withFolder { folder in
            let file = try Self.file(0, in: folder)
            let problem = FakeHub.Answer(400, #"{"code":"empty_import","detail":"There is no data."}"#)
            try await FakeHub.running({ _, _ in .answer(problem) }) { hub in
                let failure = await #expect(throws: CommandFailure.self) { try await Self.upload(file.path, to: hub) }
                #expect(failure?.message == "The hub answered 400 (empty_import): There is no data.")
                #expect(hub.requests.first?.header("Content-Length") == "0")
            }
        }
    }

    @Test(arguments: [1, 700_000, 1_000_000])
    func resendsWholeFileUnderSameKeyAfterBrokenConnection(bytes: Int) async throws {
        try await withFolder { folder in
            let file = try Self.file(1_000_000, in: folder)
            try await FakeHub.running({ number, _ in number == 0 ? .close(after: bytes) : .answer(Self.created) }) { hub in
                let response = try await Self.upload(file.path, to: hub)
                #expect(response.status == 201)
                let keys = hub.requests.map { $0.header("Idempotency-Key") }
                #expect(keys == ["key-1", "key-1"])
                #expect(hub.requests.last?.body == file.content)
            }
        }
    }

    @Test func failsAfterMaximumAttemptsIfConnectionsBreak() async throws {
        try await withFolder { folder in
            let file = try Self.file(80_000, in: folder)
            try await FakeHub.running({ _, _ in .close(after: 1) }) { hub in
                let failure = await #expect(throws: CommandFailure.self) { try await Self.upload(file.path, to: hub) }
                #expect(failure?.kind == .unreachable)
                #expect(hub.requests.count == RetryBackoff.maximumAttempts)
            }
        }
    }

    @Test func retriesBusyImportWithinMaximumWait() async {
        await concurrently([(409, "import_in_progress"), (429, "too_many_imports"), (503, "imports_busy")]) { status, code in
            try await self.retriesBusyImportWithinMaximumWait(status: status, code: code)
        }
    }

    private func retriesBusyImportWithinMaximumWait(status: Int, code: String) async throws {
        try await withFolder { folder in
            let file = try Self.file(80_000, in: folder)
            let busy = FakeHub.Answer(
                status, #"{"code":"\#(code)","detail":"Wait."}"#, headers: [("Retry-After", "1")])
            let replayed = FakeHub.Answer(200, ImportFixture(records: []).json(), headers: [("Idempotency-Replayed", "true")])
            try await FakeHub.running({ number, _ in
                switch number {
                case 0: .close(after: 1)
                case 1: .answerEarly(busy, after: 0)
                default: .answer(replayed)
                }
            }) { hub in
                let response = try await Self.upload(file.path, to: hub)
                #expect(response.isReplayed)
                #expect(hub.requests.count == 3)
            }
            try await FakeHub.running({ _, _ in .answerEarly(busy, after: 0) }) { hub in
                let failure = await #expect(throws: CommandFailure.self) {
                    try await Self.upload(file.path, to: hub, maximumWait: .zero)
                }
                #expect(failure?.message.contains(code) == true)
                #expect(hub.requests.count == 1)
            }
        }
    }

    @Test(arguments: [503, 429])
    func retriesOverloadedHubUnlessRetryAfterIsTooLong(status: Int) async throws {
        try await withFolder { folder in
            let file = try Self.file(80_000, in: folder)
            let soon = FakeHub.Answer(status, #"{"code":"overloaded"}"#, headers: [("Retry-After", "1")])
            try await FakeHub.running({ number, _ in number == 0 ? .answerEarly(soon, after: 0) : .answer(Self.created) }) {
                hub in
                let response = try await Self.upload(file.path, to: hub)
                #expect(response.status == 201)
            }
            let late = FakeHub.Answer(status, #"{"code":"overloaded"}"#, headers: [("Retry-After", "3600")])
            try await FakeHub.running({ _, _ in .answerEarly(late, after: 0) }) { hub in
                await #expect(throws: CommandFailure.self) { try await Self.upload(file.path, to: hub) }
                #expect(hub.requests.count == 1)
            }
        }
    }

    @Test func rejectionDuringUploadStopsSending() async throws {
        try await withFolder { folder in
            let path = folder.path + "/large.csv"
            try sparseFile(path, bytes: 256 * 1_048_576)
            let problem = FakeHub.Answer(
                400, #"{"code":"bad_csv","detail":"Unterminated quoted field.","line":12,"column":3,"record":10}"#)
            try await FakeHub.running({ _, _ in .answerEarly(problem, after: 1_000_000) }) { hub in
                let failure = await #expect(throws: CommandFailure.self) { try await Self.upload(path, to: hub) }
                #expect(
                    failure
                        == CommandFailure(
                            .rejected,
                            "The hub answered 400 (bad_csv): Unterminated quoted field. At line 12, column 3, record 10."))
                let request = try #require(hub.requests.first)
                #expect(hub.requests.count == 1 && request.bodyBytes < 256 * 1_048_576 && !request.isComplete)
            }
        }
    }

    @Test func doesNotCompleteUploadIfFileShrinks() async throws {
        try await withFolder { folder in
            let path = folder.path + "/large.csv"
            try sparseFile(path, bytes: 64 * 1_048_576)
            try await FakeHub.running({ _, _ in
                truncate(path, 1_000)
                return .answer(Self.created)
            }) { hub in
                let failure = await #expect(throws: CommandFailure.self) { try await Self.upload(path, to: hub) }
                #expect(failure?.message.contains("became shorter") == true)
                #expect(hub.requests.allSatisfy { !$0.isComplete })
            }
        }
    }

    @Test(arguments: ["/nowhere/x.csv", "/"])
    func rejectsUnreadableFile(path: String) {
        #expect(throws: CommandFailure.self) { try ImportSource(path) }
    }
}
