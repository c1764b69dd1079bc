import Crypto
import FlowCore
import Foundation

/// AWS signature version 4 for S3. It is independent of the hub's implementation and supports only what the tests need.
struct S3Signature {
    let method: String
    /// Percent-encoded path, with the leading slash.
    let path: String
    /// Percent-encoded query, without the question mark.
    let query: String
    /// The signed header fields, with lower-case names in ascending order.
    let headers: [(name: String, value: String)]
    /// Value of `x-amz-content-sha256`.
    let payload: String
    /// Value of `x-amz-date`, such as `20261123T190500Z`.
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

    /// Signs a request with the current time.
    /// - Returns: the given header fields and those that the signature requires, except `host`.
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
