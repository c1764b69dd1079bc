import FlowTestKit
import Foundation
import Testing

@testable import flowhub

/// Downloads of imports: complete and verified, or failed.
@Suite struct ImportGetTests {
    private static let fixture = ImportFixture.sized(300_000)
    private static let metadata = "/v1/imports/\(ImportFixture.id)"

    /// Runs the body with a hub that returns `metadata`, and for `/data` the given responses.
    private static func hub(
        metadata: String? = nil, data: @escaping @Sendable (_ attempt: Int) -> FakeHub.Behavior,
        _ body: (FakeHub) async throws -> Void
    ) async throws {
        let attempts = AsyncValue(0)
        let metadata = metadata ?? Self.fixture.json()
        try await FakeHub.running(
            { _, request in
                guard request.target.hasSuffix("/data") else { return .answer(FakeHub.Answer(200, metadata)) }
                return data(
                    attempts.change { count in
                        defer { count += 1 }
                        return count
                    })
            }, body)
    }

    private static func get(_ options: [String], hub: FakeHub, in folder: TemporaryFolder) async throws -> CommandRun.Result {
        try await CommandRun.run(["import", "get", ImportFixture.id] + options, hub: hub, in: folder)
    }

    /// The files in the folder, without the recorded output of commands.
    private static func files(in folder: TemporaryFolder) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { !$0.hasSuffix(".out") && !$0.hasSuffix(".err") }.sorted()
    }

    private static func content(_ name: String, in folder: TemporaryFolder) -> [UInt8]? {
        FileManager.default.contents(atPath: folder.path + "/" + name).map { Array($0) }
    }

    @Test func writesAndVerifiesDocumentRecordsOrObject() async throws {
        try await withFolder { folder in
            let compressed = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
            try await FakeHub.running({ _, request in
                guard request.target.hasSuffix("/data") else { return .answer(FakeHub.Answer(200, Self.fixture.json())) }
                return .answer(
                    request.header("Accept-Encoding") == "gzip"
                        ? FakeHub.Answer(200, bytes: Self.fixture.compressed, headers: compressed)
                        : FakeHub.Answer(200, bytes: Self.fixture.document))
            }) { hub in
                for (options, name, expected) in [
                    ([], "a.json", Self.fixture.document), (["--ndjson"], "a.ndjson", Self.fixture.ndjson),
                    (["--raw"], "a.json.gz", Self.fixture.compressed),
                ] {
                    let result = try await Self.get(options + ["-o", folder.path + "/" + name], hub: hub, in: folder)
                    #expect(result.exit == .code(0), "\(result.errors)")
                    #expect(result.errors.contains("hash verified"))
                    #expect(result.output == "")
                    #expect(Self.content(name, in: folder) == expected)
                }
                let shown = try await Self.get(["--ndjson"], hub: hub, in: folder)
                #expect(Array(shown.output.utf8) == Self.fixture.ndjson)
                #expect(try Self.files(in: folder) == ["a.json", "a.json.gz", "a.ndjson"])
            }
        }
    }

    @Test(arguments: [[], ["--ndjson"], ["--raw"]])
    func rejectsHashMismatchAndKeepsExistingFile(options: [String]) async throws {
        try await withFolder { folder in
            try Data("old".utf8).write(to: URL(fileURLWithPath: folder.path + "/a"))
            let zeros = String(repeating: "0", count: 64)
            let metadata = Self.fixture.json(contentHash: zeros, dataHash: zeros)
            let isCompressed = options == ["--raw"]
            let answer = FakeHub.Answer(
                200, bytes: isCompressed ? Self.fixture.compressed : Self.fixture.document,
                headers: isCompressed ? [("Content-Encoding", "gzip")] : [])
            try await Self.hub(metadata: metadata, data: { _ in .answer(answer) }) { hub in
                let result = try await Self.get(options + ["-o", folder.path + "/a"], hub: hub, in: folder)
                #expect(result.exit == .code(1))
                #expect(result.errors.contains("The download does NOT match the import: its hash is "))
                #expect(Self.content("a", in: folder) == Array("old".utf8))
                #expect(try Self.files(in: folder) == ["a"])
            }
        }
    }

    @Test func rejectsIncompleteDocument() async throws {
        try await withFolder { folder in
            let fewer = ImportFixture(records: Self.fixture.records.dropLast())
            for (document, reason) in [
                (fewer.document, "299 records received, expected 300"),
                (Self.fixture.document.dropLast(3), "line 301 is not one record"),
            ] {
                try await Self.hub(data: { _ in .answer(FakeHub.Answer(200, bytes: Array(document))) }) { hub in
                    let result = try await Self.get(["-o", folder.path + "/a"], hub: hub, in: folder)
                    #expect(result.exit == .code(1))
                    #expect(result.errors.contains(reason), "\(result.errors)")
                    #expect(try Self.files(in: folder) == [])
                }
            }
        }
    }

    @Test func restartsDownloadToFileAfterBrokenConnection() async throws {
        try await withFolder { folder in
            let answer = FakeHub.Answer(200, bytes: Self.fixture.document)
            try await Self.hub(data: { attempt in
                switch attempt {
                case 0: .part(answer, bytes: 200_000, closes: true)
                case 1: .answer(FakeHub.Answer(503, "{}"))
                default: .answer(answer)
                }
            }) { hub in
                let result = try await Self.get(["-o", folder.path + "/a"], hub: hub, in: folder)
                #expect(result.exit == .code(0), "\(result.errors)")
                #expect(result.errors.contains("retrying from the start"))
                #expect(Self.content("a", in: folder) == Self.fixture.document)
            }
        }
    }

    @Test func doesNotRestartDownloadToStandardOutput() async throws {
        try await withFolder { folder in
            let answer = FakeHub.Answer(200, bytes: Self.fixture.document)
            try await Self.hub(data: { _ in .part(answer, bytes: 200_000, closes: true) }) { hub in
                let result = try await Self.get([], hub: hub, in: folder)
                #expect(result.exit == .code(3))
                #expect(result.errors.contains("response is incomplete"))
                #expect(hub.requests.count == 2)
            }
        }
    }

    @Test func interruptedCommandLeavesNoFile() async throws {
        try await withFolder { folder in
            let answer = FakeHub.Answer(200, bytes: Self.fixture.document)
            try await Self.hub(data: { _ in .part(answer, bytes: 200_000, closes: false) }) { hub in
                let process = try CommandRun.start(
                    ["import", "get", ImportFixture.id, "-o", folder.path + "/a"], hub: hub, in: folder)
                do {
                    try await eventually("the half file") {
                        let names = try Self.files(in: folder)
                        return names.contains { (Self.content($0, in: folder)?.count ?? 0) > 100_000 }
                    }
                    process.send(SIGINT)
                    #expect(try await process.waitForExit() == .code(130))
                    #expect(try Self.files(in: folder) == [])
                } catch {
                    await process.destroy()
                    throw error
                }
            }
        }
    }

    @Test func writesThroughSymbolicLinkAndToDevice() async throws {
        try await withFolder { folder in
            try Data("old".utf8).write(to: URL(fileURLWithPath: folder.path + "/a"))
            try FileManager.default.createSymbolicLink(atPath: folder.path + "/link", withDestinationPath: "a")
            try await Self.hub(data: { _ in .answer(FakeHub.Answer(200, bytes: Self.fixture.document)) }) { hub in
                let linked = try await Self.get(["-o", folder.path + "/link"], hub: hub, in: folder)
                #expect(linked.exit == .code(0), "\(linked.errors)")
                #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.path + "/link") == "a")
                #expect(Self.content("a", in: folder) == Self.fixture.document)
                #expect(try await Self.get(["-o", "/dev/null"], hub: hub, in: folder).exit == .code(0))
                for path in [folder.path, folder.path + "/nowhere/a"] {
                    #expect(try await Self.get(["-o", path], hub: hub, in: folder).exit == .code(2))
                }
            }
        }
    }

    @Test func writesLegacyImportAndReportsNotVerified() async throws {
        try await withFolder { folder in
            let old = Array(#"[{"a":1}, {"a":2}]"#.utf8)
            try await Self.hub(
                metadata: Self.fixture.json(contentHash: ""), data: { _ in .answer(FakeHub.Answer(200, bytes: old)) }
            ) { hub in
                let result = try await Self.get([], hub: hub, in: folder)
                #expect(result.exit == .code(0))
                #expect(Array(result.output.utf8) == old)
                #expect(result.errors.contains("NOT VERIFIED"))
                let lines = try await Self.get(["--ndjson"], hub: hub, in: folder)
                #expect(lines.exit == .code(1))
                #expect(lines.errors.contains("Omit --ndjson"))
            }
        }
    }

    @Test func rejectsRawOptionForRowsAndMissingImport() async throws {
        try await withFolder { folder in
            try await Self.hub(data: { _ in .answer(FakeHub.Answer(200, bytes: Self.fixture.document)) }) { hub in
                let result = try await Self.get(["--raw", "-o", folder.path + "/a"], hub: hub, in: folder)
                #expect(result.exit == .code(1))
                #expect(result.errors.contains("Omit --raw"))
            }
            let missing = FakeHub.Answer(404, #"{"code":"not_found","detail":"No such import."}"#)
            try await FakeHub.running({ _, _ in .answer(missing) }) { hub in
                let result = try await Self.get(["-o", folder.path + "/a"], hub: hub, in: folder)
                #expect(result.exit == .code(1))
                #expect(result.errors == "flowhub: The hub answered 404 (not_found): No such import.\n")
                #expect(try Self.files(in: folder) == [])
            }
        }
    }

    @Test func readsRecordsInPagesUntilImportEnds() async throws {
        try await withFolder { folder in
            let total = 2_500
            try await FakeHub.running({ _, request in
                let numbers = request.target.split { !$0.isNumber }.suffix(2).compactMap { Int($0) }
                // At most 700 records per response, fewer than requested.
                let page = (numbers[0]..<min(numbers[0] + min(numbers[1], 700), total)).map { "{\"n\":\($0).0}" }
                let body = "{\"records\":[\(page.joined(separator: ","))],\"offset\":\(numbers[0]),\"total_records\":\(total)}"
                return .answer(FakeHub.Answer(200, body))
            }) { hub in
                let result = try await Self.get(["--records", "100:5000", "--ndjson"], hub: hub, in: folder)
                #expect(result.exit == .code(0), "\(result.errors)")
                #expect(result.output == (100..<total).map { "{\"n\":\($0).0}\n" }.joined())
                #expect(hub.requests.count == 4)
                let three = try await Self.get(["--records", "0:3"], hub: hub, in: folder)
                #expect(three.output == "[\n{\"n\":0.0},\n{\"n\":1.0},\n{\"n\":2.0}\n]\n")
            }
        }
    }

    @Test func printsSampleAsArrayOrLines() async throws {
        try await withFolder { folder in
            try await FakeHub.running({ _, request in
                .answer(FakeHub.Answer(request.target == Self.metadata + "/sample" ? 200 : 404, #"{"records":[1,"a"]}"#))
            }) { hub in
                let array = try await Self.get(["--sample"], hub: hub, in: folder)
                #expect(array.output == "[\n1,\n\"a\"\n]\n")
                let lines = try await Self.get(["--sample", "--ndjson"], hub: hub, in: folder)
                #expect(lines.output == "1\n\"a\"\n")
            }
        }
    }
}
