import FlowTestKit
import Foundation
import Testing

@testable import flowhub

/// `flowhub import put` as a process: exit codes and output.
@Suite struct ImportPutTests {
    private static let fixture = ImportFixture.sized(20_000)
    private static let created = FakeHub.Answer(201, Self.fixture.json())

    @Test func sendsPipeChunkedAndPrintsOnlyID() async throws {
        try await withFolder { folder in
            try await FakeHub.running({ _, _ in .answer(Self.created) }) { hub in
                let result = try await CommandRun.run(
                    ["import", "put", "-", "--format", "csv", "--name", "a.csv", "--flow", "f"], hub: hub, in: folder,
                    input: "printf 'a,b\\n1,2\\n'")
                #expect(result.exit == .code(0), "\(result.errors)")
                #expect(result.output == ImportFixture.id + "\n")
                #expect(result.errors.hasPrefix("stored: 20 records, "))
                let request = try #require(hub.requests.first)
                #expect(request.target == "/v1/imports?flow_id=f&file_name=a.csv")
                #expect(request.header("Transfer-Encoding") == "chunked")
                #expect(request.header("Idempotency-Key")?.hasPrefix("cli-") == true)
                #expect(request.body == Array("a,b\n1,2\n".utf8))
            }
        }
    }

    @Test func resendsRedirectedFileWithLength() async throws {
        try await withFolder { folder in
            try Data("a,b\n1,2\n".utf8).write(to: URL(fileURLWithPath: folder.path + "/in"))
            try await FakeHub.running({ number, _ in number == 0 ? .close(after: 1) : .answer(Self.created) }) { hub in
                let command = "'\(try HubBinary.path())' import put - --format csv --json < '\(folder.path)/in'"
                let process = try ChildProcess(
                    "/bin/sh", ["-c", command], environment: ["FLOWHUB_URL": hub.url], folder: folder.path)
                #expect(try await process.waitForExit(within: .seconds(60)) == .code(0))
                #expect(process.output == Self.fixture.json() + "\n")
                #expect(process.errorOutput.contains("retrying from the start"))
                #expect(hub.requests.map { $0.header("Content-Length") } == ["8", "8"])
            }
        }
    }

    @Test func doesNotResendPipe() async throws {
        try await withFolder { folder in
            try await FakeHub.running({ _, _ in .close(after: 1) }) { hub in
                let result = try await CommandRun.run(
                    ["import", "put", "-", "--format", "csv"], hub: hub, in: folder, input: "printf 'a,b\\n1,2\\n'")
                #expect(result.exit == .code(3))
                #expect(result.errors.contains("Cannot retry: input is a pipe"))
                #expect(hub.requests.count == 1)
            }
        }
    }

    @Test func logsProgressAndReportsProblemPosition() async throws {
        try await withFolder { folder in
            try Data("[1,\n2,x]".utf8).write(to: URL(fileURLWithPath: folder.path + "/a.json"))
            let problem = FakeHub.Answer(400, #"{"code":"bad_json","detail":"No.","line":2,"column":3,"record":2}"#)
            try await FakeHub.running({ number, _ in .answer(number == 0 ? problem : Self.created) }) { hub in
                let arguments = ["import", "put", folder.path + "/a.json", "--progress"]
                let rejected = try await CommandRun.run(arguments, hub: hub, in: folder)
                #expect(rejected.exit == .code(1))
                #expect(rejected.output == "")
                #expect(rejected.errors == "flowhub: The hub answered 400 (bad_json): No. At line 2, column 3, record 2.\n")
                let stored = try await CommandRun.run(arguments, hub: hub, in: folder)
                #expect(stored.exit == .code(0))
                #expect(stored.errors.hasPrefix("Sending  8 B in "))
                #expect(!stored.errors.contains("\u{1B}"))
            }
        }
    }

    @Test func memoryStaysBoundedWhileHubStalls() async throws {
        try await withFolder { folder in
            let path = folder.path + "/large.csv"
            let size = 512 * 1_048_576
            try sparseFile(path, bytes: size)
            try await FakeHub.running({ _, _ in .stall(Self.created, after: 1_048_576) }) { hub in
                let process = try CommandRun.start(["import", "put", path], hub: hub, in: folder)
                do {
                    try await hub.wait(for: "the first bytes") { ($0.first?.bodyBytes ?? 0) >= 1_048_576 }
                    // The command is blocked, and its buffers are full, when its CPU time no longer changes.
                    var before = -1.0
                    try await eventually("the command to be idle", every: .milliseconds(300)) {
                        let now = try #require(ProcessMetrics(of: process.id)).cpuSeconds
                        defer { before = now }
                        return now == before
                    }
                    #expect(try #require(ProcessMetrics(of: process.id)).residentBytes < 128 * 1_048_576)
                    #expect(try #require(hub.requests.first).bodyBytes < 64 * 1_048_576)
                    hub.release()
                    try await hub.wait(for: "all bytes") { $0.first?.bodyBytes == size }
                    let exit = try await process.waitForExit(within: .seconds(60))
                    #expect(exit == .code(0), "\(process.errorOutput)")
                } catch {
                    await process.destroy()
                    throw error
                }
            }
        }
    }
}
