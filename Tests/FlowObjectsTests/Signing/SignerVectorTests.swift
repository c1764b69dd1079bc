import FlowCore
import Foundation
import Testing

@testable import FlowObjects

/// AWS's examples for S3, and requests to R2 whose signatures were verified with botocore.
@Suite struct SignerVectorTests {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    // Members have the names of the JSON file.
    struct Vector: Decodable, CustomTestStringConvertible {
        var name, kind, method, host, path_decoded, raw_path, access_key, secret_key, region, amz_date: String
        var canonical_request, string_to_sign, signature, signed_headers: String
        var session_token, payload_sha256, authorization, url: String?
        var query: [[String]]
        var signed_headers_in: [[String]]
        var expires: Int?

        var testDescription: String { self.name }

        var request: SignableRequest {
            // The signer adds these itself.
            let added = ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"]
            return SignableRequest(
                method: self.method, host: self.host, path: self.path_decoded, query: self.query.map { NamedValue($0[0], $0[1]) },
                headers: self.signed_headers_in.filter { !added.contains($0[0]) }.map { NamedValue($0[0], $0[1]) },
                payloadHash: self.payload_sha256 ?? SignableRequest.unsignedPayload)
        }

        var credentials: R2Credentials {
            R2Credentials(accessKeyID: self.access_key, secretAccessKey: self.secret_key, sessionToken: self.session_token)
        }

        var moment: Timestamp {
            let date = self.amz_date
            func part(_ from: Int, _ count: Int) -> Substring { date.dropFirst(from).prefix(count) }
            let iso = "\(part(0, 4))-\(part(4, 2))-\(part(6, 2))T\(part(9, 2)):\(part(11, 2)):\(part(13, 2))Z"
            return ServerTime.iso(iso) ?? Timestamp(milliseconds: 0)
        }
    }

    private struct File: Decodable { var vectors: [Vector] }

    static let vectors: [Vector] = {
        guard let url = Bundle.module.url(forResource: "sigv4_s3", withExtension: "json", subdirectory: "Vectors"),
            let data = try? Data(contentsOf: url), let file = try? JSONDecoder().decode(File.self, from: data)
        else { return [] }
        return file.vectors
    }()

    @Test func loadsAllVectors() { #expect(Self.vectors.count == 25) }

    @Test(arguments: vectors) func matchesExpectedSignature(_ vector: Vector) throws {
        // A new signer for each vector; `cachedSigningKeyFollowsDayAndSecret` tests a shared one.
        let signer = Signer(region: vector.region)
        let signature: Signature
        if vector.kind == "presigned" {
            let (made, url) = signer.presign(
                vector.request, vector.credentials, at: vector.moment, scheme: "https", seconds: try #require(vector.expires))
            #expect(url == vector.url)
            signature = made
        } else {
            let (made, headers) = signer.sign(vector.request, vector.credentials, at: vector.moment)
            #expect(headers.last == NamedValue("Authorization", try #require(vector.authorization)))
            #expect(headers.contains(NamedValue("x-amz-date", vector.amz_date)))
            #expect(headers.contains(NamedValue("x-amz-content-sha256", vector.payload_sha256 ?? "")))
            signature = made
        }
        #expect(signature.canonicalRequest == vector.canonical_request)
        #expect(signature.stringToSign == vector.string_to_sign)
        #expect(signature.signature == vector.signature)
        #expect(signature.signedHeaders == vector.signed_headers)
        #expect(SigV4.canonicalPath(vector.path_decoded) == vector.raw_path)
    }

    /// The general test suite of the AWS SDKs normalizes these paths. S3 must not, since each is a different key.
    @Test(arguments: [
        "/example/..", "/example1/example2/../..", "/./", "/./example", "//", "//example//", "/a/./b/../c//d",
    ])
    func doesNotNormalizePaths(_ path: String) { #expect(SigV4.canonicalPath(path) == path) }

    @Test func cachedSigningKeyFollowsDayAndSecret() throws {
        let moments = [0, 86_399_999, 86_400_000, 0].map { Timestamp(milliseconds: $0) }
        let secrets = ["one", "two", "one"]
        let shared = Signer(region: "auto")
        let request = SignableRequest(method: "GET", host: "h", path: "/b/k")
        for secret in secrets {
            let credentials = R2Credentials(accessKeyID: "id", secretAccessKey: secret)
            for moment in moments {
                let cached = shared.sign(request, credentials, at: moment).signature
                #expect(cached == Signer(region: "auto").sign(request, credentials, at: moment).signature)
            }
        }
    }

    @Test func digestsMatchRFCExamples() {
        // RFC 1321, A.5; RFC 4231, case 2; RFC 4648, section 10.
        #expect(Digest.md5(Array("abc".utf8)).hexadecimal == "900150983cd24fb0d6963f7d28e17f72")
        #expect(
            Digest.hmacSHA256(key: Array("Jefe".utf8), "what do ya want for nothing?").hexadecimal
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        let base64 = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map { Array($0.utf8).base64 }
        #expect(base64 == ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"])
    }
}
