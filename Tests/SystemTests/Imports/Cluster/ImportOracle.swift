import FlowCore
import FlowTestKit
import Foundation

/// Independent readers of the bytes that a hub stores: gzip, SHA-256 and JSON of Python.
enum ImportOracle {
    /// The properties of a document: a JSON array with one record per line.
    struct Document: Sendable {
        var records: Int
        var bytes: Int
        /// SHA-256 of the given bytes, compressed or not.
        var dataHash: String
        var contentHash: String
        var members: Int
    }

    /// - Parameter bytes: a document, plain or gzip.
    static func read(_ bytes: [UInt8]) async throws -> Document {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let file = folder.path + "/document"
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        let text = try await TestTools.python(
            """
            import hashlib, json, sys, zlib
            data = open(sys.argv[1], "rb").read()
            text, rest, members = b"", data, 0
            if data[:2] == b"\\x1f\\x8b":
                while rest:
                    unpacker = zlib.decompressobj(31)
                    text += unpacker.decompress(rest)
                    assert unpacker.eof
                    rest = unpacker.unused_data
                    members += 1
            else: text = data
            lines = text.split(b"\\n")
            assert lines[0] == b"[" and lines[-2:] == [b"]", b""], (lines[:1], lines[-2:])
            lines = lines[1:-2]
            assert all(line.endswith(b",") for line in lines[:-1])
            records = [line[:-1] for line in lines[:-1]] + lines[-1:]
            assert len(json.loads(text)) == len(records)
            content = hashlib.sha256(b"".join(record + b"\\n" for record in records)).hexdigest()
            print(len(records), len(text), hashlib.sha256(data).hexdigest(), content, members)
            """, [file])
        let parts = text.split(separator: " ").map(String.init)
        guard parts.count == 5, let records = Int(parts[0]), let bytes = Int(parts[1]), let members = Int(parts[4]) else {
            throw ChildProcess.Failure(description: text)
        }
        return Document(records: records, bytes: bytes, dataHash: parts[2], contentHash: parts[3], members: members)
    }

    /// Compresses each part with gzip(1) to its own gzip member.
    static func gzip(_ parts: [[UInt8]], level: Int = 6) async throws -> [UInt8] {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        for (number, part) in parts.enumerated() {
            try Data(part).write(to: URL(fileURLWithPath: "\(folder.path)/\(number)"))
        }
        let script = "cd '\(folder.path)' && for n in $(seq 0 \(parts.count - 1)); do gzip -\(level) -n -c $n >> all; done"
        let shell = try ChildProcess("/bin/sh", ["-c", script], environment: [:], folder: folder.path)
        guard try await shell.waitForExit(within: .seconds(120)) == .code(0) else {
            throw ChildProcess.Failure(description: shell.errorOutput)
        }
        return Array(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/all")))
    }

    /// The document that the hub creates from these records.
    static func document(_ records: [String]) -> [UInt8] {
        records.isEmpty ? Array("[\n]\n".utf8) : Array(("[\n" + records.joined(separator: ",\n") + "\n]\n").utf8)
    }

    /// Deterministic records of about 220 bytes, with realistic compressibility.
    static func records(_ count: Int, from first: Int = 0) -> [String] {
        (first..<first + count).map { number in
            var random = SeededRandom(seed: UInt64(number))
            let noise = (0..<4).map { _ in String(random.next(), radix: 16) }.joined(separator: "-")
            return
                #"{"id":\#(number),"name":"host-\#(number).example.org","ip":"10.\#(number % 200).\#(number % 90).7","#
                + #""size":\#(number % 977).50,"active":\#(number % 2 == 0),"note":"\#(noise)","owner":\#(number % 7 == 0 ? "null" : "\"unit \(number % 30)\"")}"#
        }
    }
}
