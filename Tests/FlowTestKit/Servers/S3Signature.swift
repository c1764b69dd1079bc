import Crypto
import FlowCore
import Foundation

/// Signature version 4 for S3, as the tests compute it: written apart from the hub's, and only for requests of the tests.
struct S3Signature {
    let method: String
    /// Encoded, with the slash.
    let path: String
    /// Encoded, without the question mark.
    let query: String
    /// The names that are signed, in lower case and in order, with the values.
    let headers: [(name: String, value: String)]
    /// `x-amz-content-sha256`
    let payload: String
    /// `20261123T190500Z`
    let time: String

    private var scope: String { "\(self.time.prefix(8))/\(S3Server.region)/s3/aws4_request" }
    private var signedHeaders: String { self.headers.map(\.name).joined(separator: ";") }

    var authorization: String {
        "AWS4-HMAC-SHA256 Credential=\(S3Server.accessKey)/\(self.scope), SignedHeaders=\(self.signedHeaders), "
            + "Signature=\(self.signature)"
    }

    var signature: String {
        let query = self.query.split(separator: "&").map { $0.contains("=") ? String($0) : "\($0)=" }.sorted()
        let canonical = [
            self.method, self.path, query.joined(separator: "&"), self.headers.map { "\($0.name):\($0.value)\n" }.joined(),
            self.signedHeaders, self.payload,
        ].joined(separator: "\n")
        let text = ["AWS4-HMAC-SHA256", self.time, self.scope, Self.sha256(Array(canonical.utf8))].joined(separator: "\n")
        var key = Data("AWS4\(S3Server.secretKey)".utf8)
        for step in self.scope.split(separator: "/") { key = Self.hmac(key, String(step)) }
        return Self.hmac(key, text).map { Self.hexadecimal($0) }.joined()
    }

    /// Signs a request of now, with these headers and all that must be.
    static func sign(
        _ method: String, path: String, query: String, headers: [(name: String, value: String)] = [], host: String,
        body: [UInt8]
    ) -> [(name: String, value: String)] {
        let time = String(Timestamp.now.description.filter { $0 != "-" && $0 != ":" }.prefix(15)) + "Z"
        let payload = Self.sha256(body)
        let own = [("host", host), ("x-amz-content-sha256", payload), ("x-amz-date", time)]
        let signed = (headers.map { ($0.name.lowercased(), $0.value) } + own).sorted { $0.0 < $1.0 }
        let signature = S3Signature(
            method: method, path: path, query: query, headers: signed, payload: payload, time: time)
        return signed.filter { $0.0 != "host" } + [("Authorization", signature.authorization)]
    }

    static func sha256(_ bytes: some Sequence<UInt8>) -> String {
        SHA256.hash(data: Array(bytes)).map { Self.hexadecimal($0) }.joined()
    }

    private static func hmac(_ key: Data, _ text: String) -> Data {
        Data(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: SymmetricKey(data: key)))
    }

    private static func hexadecimal(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }
}

extension Timestamp {
    fileprivate static var now: Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000)) }
}
