import Foundation
import Testing

@testable import FlowTestKit

/// Tests that ``R2Proxy`` enforces R2's rules and records requests.
@Suite(.serialized, .s3()) struct R2ProxyTests {
    private static let part = 5 << 20

    /// Runs the body with a proxy, and with a new bucket that is accessed through the proxy and directly.
    private static func proxied(
        _ body: (_ proxy: R2Proxy, _ viaProxy: S3Bucket, _ direct: S3Bucket) async throws -> Void
    ) async throws {
        let direct = try await SharedS3.bucket()
        try await R2Proxy.running(before: SharedS3.server) { proxy in
            try await body(proxy, S3Bucket(direct.name, port: proxy.port), direct)
        }
    }

    // MARK: R2's rules

    @Test func forwardsAndRecordsBoto3Requests() async throws {
        try await Self.proxied { proxy, _, direct in
            let printed = try await TestTools.boto3(
                proxy.endpoint, bucket: direct.name,
                """
                s3.put_object(Bucket=bucket, Key="a b", Body=b"0123456789")
                print(s3.get_object(Bucket=bucket, Key="a b", Range="bytes=2-4")["Body"].read().decode())
                print(s3.head_object(Bucket=bucket, Key="a b")["ContentLength"])
                upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
                def put(n, size):
                    answer = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=n, Body=b"%d" % n * size)
                    return dict(PartNumber=n, ETag=answer["ETag"])
                parts = [put(1, 5 << 20), put(2, 5 << 20), put(3, 7)]
                s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": parts})
                print(len(s3.get_object(Bucket=bucket, Key="m")["Body"].read()))
                s3.delete_object(Bucket=bucket, Key="a b")
                print(s3.list_objects_v2(Bucket=bucket)["KeyCount"])
                """)
            #expect(printed == "234\n10\n\(2 * Self.part + 7)\n1")
            let requests = proxy.requests
            #expect(
                requests.map(\.operation) == [
                    .putObject, .getObject, .headObject, .createUpload, .uploadPart, .uploadPart, .uploadPart, .completeUpload,
                    .getObject, .deleteObject, .listObjects,
                ])
            #expect(requests.map(\.number) == Array(1...11))
            #expect(requests.map(\.status) == [200, 206, 200, 200, 200, 200, 200, 200, 200, 204, 200])
            #expect(requests.allSatisfy { $0.isOver && $0.serverStatus == $0.status && $0.fault == nil })
            #expect(requests[0].key == "a b" && requests[1].range == "bytes=2-4" && requests[1].replyBytes == 3)
            #expect(requests[4...6].map(\.bodyBytes) == [Self.part, Self.part, 7] && requests[4...6].map(\.part) == [1, 2, 3])
            #expect(requests[8].replyBytes == 2 * Self.part + 7)
            #expect(try await direct.objects().map(\.key) == ["m"])
        }
    }

    @Test func rejectsRequestsThatR2Rejects() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            let streaming = try await viaProxy.perform("PUT", key: "a", headers: [("content-encoding", "aws-chunked")])
            #expect(streaming.status == 501)
            let payload = ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
            let signedInChunks = HTTPCall("PUT", "/\(direct.name)/a", headers: [payload], body: [1])
            #expect(try await HTTPCaller(port: proxy.port).perform(signedInChunks).status == 501)
            let withoutLength = HTTPCall("PUT", "/\(direct.name)/a")
            #expect(try await HTTPCaller(port: proxy.port).perform(withoutLength).status == 411)
            let chunked = try await RawExchange.open(port: proxy.port)
            try await chunked.send(
                "PUT /\(direct.name)/a HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
            #expect(try await chunked.replies(1).first?.status == 411)
            chunked.close()
            #expect(try await viaProxy.perform("GET", key: "a", headers: [("accept-encoding", "gzip")]).status == 403)
            #expect(try await direct.objects().isEmpty)
        }
    }

    @Test func rejectsUnequalParts() async throws {
        try await Self.proxied { proxy, _, direct in
            let printed = try await TestTools.boto3(
                proxy.endpoint, bucket: direct.name,
                """
                def complete(key, *sizes):
                    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
                    parts = []
                    for n, size in enumerate(sizes, 1):
                        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=n, Body=b"." * size)
                        parts.append(dict(PartNumber=n, ETag=answer["ETag"]))
                    return refusal(s3.complete_multipart_upload, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
                least = 5 << 20
                print(complete("a", least, least + 1, 1))
                print(complete("b", least, least + 1))
                print(complete("c", least - 1, 1))
                print(complete("d", least + 1, least))
                """)
            #expect(printed == "400 InvalidPart\n400 InvalidPart\n400 EntityTooSmall\nnothing")
            #expect(try await direct.objects().map(\.key) == ["d"])
        }
    }

    @Test func limitsWritesPerKeyWhenEnabled() async throws {
        try await Self.proxied { proxy, viaProxy, _ in
            try await viaProxy.put("a", [1])
            try await viaProxy.put("a", [2])
            proxy.limitWrites(true)
            try await viaProxy.put("a", [3])
            let again = try await viaProxy.perform("PUT", key: "a", body: [4])
            #expect(again.status == 429 && again.text.contains("TooManyRequests"))
            try await viaProxy.put("b", [5])
            try await eventually("the key to be writable again") {
                try await viaProxy.perform("PUT", key: "a", body: [6]).status == 200
            }
        }
    }

    @Test func neverSends100Continue() async throws {
        try await Self.proxied { proxy, _, direct in
            let body = Array("body".utf8)
            let signed = S3Signature.sign("PUT", path: "/\(direct.name)/a", query: "", host: "127.0.0.1", body: body)
            let exchange = try await RawExchange.open(port: proxy.port)
            let fields = signed.map { "\($0.name): \($0.value)\r\n" }.joined()
            try await exchange.send(
                "PUT /\(direct.name)/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\(fields)"
                    + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            try await proxy.wait(for: "the head") { $0.count == 1 }
            try await exchange.send(body)
            #expect(try await exchange.replies(1).first?.status == 200)
            #expect(!exchange.receivedText.contains("Continue"))
            exchange.close()
            #expect(try await direct.bytes("a") == body)
        }
    }

    @Test func decompressesObjectsWithContentEncodingGzip() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            let printed = try await TestTools.boto3(
                proxy.endpoint, bucket: direct.name,
                """
                import gzip
                packed = gzip.compress(b"unpacked" * 1000)
                s3.put_object(Bucket=bucket, Key="encoded", Body=packed, ContentEncoding="gzip")
                s3.put_object(Bucket=bucket, Key="opaque", Body=packed, ContentType="application/gzip")
                print(len(packed))
                """)
            let size = try #require(Int(printed))
            #expect(try await direct.bytes("encoded")?.count == size)
            #expect(try await viaProxy.bytes("encoded") == Array(String(repeating: "unpacked", count: 1_000).utf8))
            #expect(try await viaProxy.bytes("opaque")?.count == size)
            #expect(try await viaProxy.head("opaque")?.header("content-length") == "\(size)")
            let asking = try await RawExchange.open(port: proxy.port)
            let signed = S3Signature.sign("HEAD", path: "/\(direct.name)/opaque", query: "", host: "127.0.0.1", body: [])
            let fields = signed.map { "\($0.name): \($0.value)\r\n" }.joined()
            try await asking.send(
                "HEAD /\(direct.name)/opaque HTTP/1.1\r\nHost: 127.0.0.1\r\n\(fields)Accept-Encoding: gzip\r\n\r\n")
            try await asking.waitUntilReceived("\r\n\r\n")
            #expect(asking.receivedText.hasPrefix("HTTP/1.1 200 "))
            #expect(!asking.receivedText.lowercased().contains("content-length"))
            asking.close()
        }
    }

    @Test func acceptsExactlyOneConditionalWrite() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        let body = [UInt8(number)]
                        return try await viaProxy.perform("PUT", key: "a", headers: [("if-none-match", "*")], body: body).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.sorted() == [200] + Array(repeating: 412, count: 7))
            let printed = try await TestTools.boto3(
                proxy.endpoint, bucket: direct.name,
                """
                def complete(key):
                    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
                    answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b".")
                    parts = {"Parts": [dict(PartNumber=1, ETag=answer["ETag"])]}
                    return refusal(
                        s3.complete_multipart_upload, Key=key, UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")
                print(complete("a"))
                print(complete("b"))
                """)
            #expect(printed == "412 PreconditionFailed\nnothing")
            #expect(try await direct.uploads().isEmpty)
            #expect(try await direct.bytes("a")?.count == 1)
        }
    }

    @Test func storesLifecycleRulesOfSignedRequests() async throws {
        try await Self.proxied { proxy, _, direct in
            let program = """
                rule = dict(ID="r", Status="Enabled", Filter=dict(Prefix="imports/"), Expiration=dict(Days=30))
                rules = dict(LifecycleConfiguration=dict(Rules=[rule]))
                print(refusal(s3.get_bucket_lifecycle_configuration))
                print(refusal(s3.put_bucket_lifecycle_configuration, **rules))
                """
            let stranger = try await TestTools.boto3(proxy.endpoint, bucket: direct.name, secret: "another", program)
            #expect(stranger == "403 SignatureDoesNotMatch\n403 SignatureDoesNotMatch")
            let owner = try await TestTools.boto3(
                proxy.endpoint, bucket: direct.name,
                program + """

                    print(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["Expiration"])
                    s3.delete_bucket_lifecycle(Bucket=bucket)
                    print(refusal(s3.get_bucket_lifecycle_configuration))
                    """)
            #expect(
                owner
                    == "404 NoSuchLifecycleConfiguration\nnothing\n{'Days': 30}\n404 NoSuchLifecycleConfiguration")
        }
    }
}
