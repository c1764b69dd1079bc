import Crypto
import Foundation

/// SHA-256 hashes, computed independently of the hub.
public enum TestDigest {
    /// The hash in hexadecimal.
    public static func sha256(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in SHA256.hash(data: bytes) { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }

    /// The hash of the data that gzip(1) decompresses.
    /// - Throws: ``ChildProcess/Failure`` if gzip(1) rejects the data.
    public static func sha256(decompressing compressed: [UInt8]) async throws -> String {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let file = folder.path + "/compressed"
        guard FileManager.default.createFile(atPath: file, contents: Data(compressed)) else {
            throw ChildProcess.Failure(description: "cannot write \(file)")
        }
        let process = try ChildProcess(
            "/bin/bash", ["-o", "pipefail", "-c", "gzip -dc < \"$0\" | sha256sum", file], environment: [:], folder: folder.path)
        guard try await process.waitForExit() == .code(0) else {
            throw ChildProcess.Failure(description: "gzip: \(process.errorOutput)")
        }
        return String(process.output.prefix(64))
    }
}
