import FlowCore
import FlowTestKit
import Foundation
import Testing

@testable import FlowObjects

/// Signatures of random requests, compared with those of botocore, an independent implementation.
@Suite struct SignerFuzzTests {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    // Members have the names that the Python script reads.
    private struct Case: Encodable {
        var kind, method, host, path, payload_hash, access_key, secret_key, region, date: String
        var session_token: String?
        var query, headers: [[String]]
        var expires: Int
    }

    private static let seeds: [UInt64] = TestScale.pick([1], full: [1, 2, 3, 4])
    private static let count = TestScale.pick(1_000, full: 10_000)

    private static let odd = Array(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~éü中😀\u{7f}\u{1}\n\tAz09")

    @Test(arguments: seeds) func agreesWithBotocore(_ seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let cases = (0..<Self.count).map { _ in Self.make(&random) }
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let encoder = JSONEncoder()
        let lines = try cases.map { String(decoding: try encoder.encode($0), as: UTF8.self) }
        try lines.joined(separator: "\n").write(toFile: folder.path + "/cases", atomically: true, encoding: .utf8)

        let script = try #require(
            Bundle.module.url(forResource: "botocore_signatures", withExtension: "py", subdirectory: "Vectors"))
        let output = try await TestTools.python(
            String(decoding: try Data(contentsOf: script), as: UTF8.self), [folder.path + "/cases"])
        let reference = try output.split(separator: "\n").map { try JSONDecoder().decode(String.self, from: Data($0.utf8)) }
        #expect(reference.count == cases.count)
        // One signer per region for all cases: earlier signatures must have no effect.
        let signers = ["auto": Signer(region: "auto"), "us-east-1": Signer(region: "us-east-1")]
        for (one, other) in zip(cases, reference) {
            let computed = try Self.sign(one, try #require(signers[one.region]))
            #expect(Self.comparable(computed) == Self.comparable(other), "seed \(seed): \(one)")
        }
    }

    private static func make(_ random: inout SeededRandom) -> Case {
        let kind = random.chance(50) ? "header" : "presigned"
        // botocore keeps only one of several parameters with the same name when it presigns, so names are unique.
        let names = (0..<random.number(0...4)).map { "\(Self.text(&random, 1...6))\(kind == "header" ? "" : "\($0)")" }
        var headers: [[String]] = [["content-type", "application/gzip"], ["if-none-match", "*"], ["range", "bytes=1-2"]]
            .filter { _ in random.chance(40) }
        for number in 0..<random.number(0...3) {
            headers.append(["X-Amz-Meta-\(random.any(of: ["a", "Bc", "d-\(number)"]))", Self.value(&random)])
        }
        let day = random.number(10...28)
        return Case(
            kind: kind, method: random.any(of: ["GET", "PUT", "POST", "DELETE", "HEAD"]),
            host: random.any(of: ["0123.r2.cloudflarestorage.com", "127.0.0.1:9000"]),
            path: "/bucket/" + Self.text(&random, 0...30),
            payload_hash: random.chance(50) ? SignableRequest.unsignedPayload : SignableRequest.emptyPayload,
            access_key: Self.key(&random), secret_key: Self.key(&random), region: random.any(of: ["auto", "us-east-1"]),
            date: "202609\(day)T0\(random.number(0...9))1530Z", session_token: random.chance(30) ? Self.key(&random) : nil,
            query: names.map { [$0, Self.text(&random, 0...10)] }, headers: headers, expires: random.number(1...604_800))
    }

    private static func text(_ random: inout SeededRandom, _ length: ClosedRange<Int>) -> String {
        String((0..<random.number(length)).map { _ in random.any(of: Self.odd) })
    }

    /// A random value of a header field: printable ASCII with spaces in any place.
    private static func value(_ random: inout SeededRandom) -> String {
        let printable = (0x20...0x7e).map { Character(Unicode.Scalar($0)) } + Array("      ")
        return String((0..<random.number(0...20)).map { _ in random.any(of: printable) })
    }

    private static func key(_ random: inout SeededRandom) -> String {
        String((0..<random.number(1...40)).map { _ in random.any(of: Array("abcXYZ019+/=-_:")) })
    }

    private static func sign(_ one: Case, _ signer: Signer) throws -> String {
        let request = SignableRequest(
            method: one.method, host: one.host, path: one.path, query: one.query.map { NamedValue($0[0], $0[1]) },
            headers: one.headers.map { NamedValue($0[0], $0[1]) }, payloadHash: one.payload_hash)
        let credentials = R2Credentials(
            accessKeyID: one.access_key, secretAccessKey: one.secret_key, sessionToken: one.session_token)
        let parts = Array(one.date)
        let time = "\(String(parts[9..<11])):\(String(parts[11..<13])):\(String(parts[13..<15]))Z"
        let moment = try #require(
            ServerTime.iso("\(String(parts[0..<4]))-\(String(parts[4..<6]))-\(String(parts[6..<8]))T\(time)"))
        if one.kind == "presigned" {
            return signer.presign(request, credentials, at: moment, scheme: "https", seconds: one.expires).url
        }
        return signer.sign(request, credentials, at: moment).signature.authorization
    }

    /// The parts of a presigned URL, sorted, since the order of its query parameters is free.
    private static func comparable(_ text: String) -> [String] {
        text.split(whereSeparator: { $0 == "?" || $0 == "&" }).map(String.init).sorted()
    }
}
