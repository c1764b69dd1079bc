import Crypto
import FlowCore
import FlowTestKit
import Foundation

@testable import flowhub

/// An import, with the representations that a hub would return.
struct ImportFixture {
    static let id = "6f1c3a52-7c1e-4f0a-9d3b-2a64c1d0e9f7"

    var records: [String]

    var ndjson: [UInt8] { Array(self.records.map { $0 + "\n" }.joined().utf8) }

    var document: [UInt8] {
        Array((self.records.isEmpty ? "[\n]\n" : "[\n" + self.records.joined(separator: ",\n") + "\n]\n").utf8)
    }

    /// A stand-in for the compressed object. The command does not decompress it.
    var compressed: [UInt8] { Array("stored:".utf8) + self.ndjson.reversed() }

    static func hash(_ bytes: [UInt8]) -> String {
        SHA256.hash(data: bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// The hub's JSON of the import.
    /// - Parameters:
    ///   - contentHash: overrides the correct hash.
    ///   - dataHash: overrides the correct hash.
    func json(contentHash: String? = nil, dataHash: String? = nil) -> String {
        let storage = StorageMetadata(
            bucket: "b", sizeBytes: self.compressed.count, originalSizeBytes: self.document.count,
            recordCount: self.records.count,
            dataHash: dataHash ?? Self.hash(self.compressed), contentHash: contentHash ?? Self.hash(self.ndjson))
        return """
            {"id":"\(Self.id)","status":"stored","flow_id":"import-7","file_name":"hosts.csv","source_type":null,\
            "created_at":"2026-11-23T19:05:00.123Z","total_records":\(self.records.count),"field_summary":{},\
            "storage_location":"x","storage_provider":"folder","storage_metadata":\(storage.json.string)}
            """
    }

    /// An import of about this size, with records of about 1,000 bytes.
    static func sized(_ bytes: Int) -> ImportFixture {
        let filler = String(repeating: "x,", count: 480)
        return ImportFixture(records: (0..<max(bytes / 1_000, 1)).map { "{\"n\":\($0),\"text\":\"\(filler)\"}" })
    }
}

/// Runs the `flowhub` binary.
enum CommandRun {
    struct Result {
        var exit: ChildProcess.Exit
        var output: String
        var errors: String
    }

    /// - Parameter input: a shell command whose output is piped to standard input; `nil`: none.
    static func start(
        _ arguments: [String], hub: FakeHub, in folder: TemporaryFolder, input: String? = nil
    ) throws -> ChildProcess {
        let environment = ["FLOWHUB_URL": hub.url]
        let binary = try HubBinary.path()
        guard let input else {
            return try ChildProcess(binary, arguments, environment: environment, folder: folder.path)
        }
        let line = ([binary] + arguments).map { "'\($0)'" }.joined(separator: " ")
        return try ChildProcess("/bin/sh", ["-c", "\(input) | \(line)"], environment: environment, folder: folder.path)
    }

    static func run(
        _ arguments: [String], hub: FakeHub, in folder: TemporaryFolder, input: String? = nil
    ) async throws -> Result {
        let process = try Self.start(arguments, hub: hub, in: folder, input: input)
        do {
            let exit = try await process.waitForExit(within: .seconds(60))
            return Result(exit: exit, output: process.output, errors: process.errorOutput)
        } catch {
            await process.destroy()
            throw error
        }
    }
}

/// Runs the body with a temporary directory, and deletes it afterwards.
func withFolder<Result>(_ body: (TemporaryFolder) async throws -> Result) async throws -> Result {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    return try await body(folder)
}

/// Creates a sparse file of this size, which uses no disk space.
func sparseFile(_ path: String, bytes: Int) throws {
    try Data().write(to: URL(fileURLWithPath: path))
    guard truncate(path, off_t(bytes)) == 0 else { throw ChildProcess.Failure(description: "cannot create \(path)") }
}
