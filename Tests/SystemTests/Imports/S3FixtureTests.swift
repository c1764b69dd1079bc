import Foundation
import Testing

@testable import FlowTestKit

/// Tests that the S3 server of the import tests verifies requests and keeps acknowledged data.
@Suite(.serialized, .s3()) struct S3FixtureTests {
    @Test func servesBoto3Client() async throws {
        let server = try SharedS3.server
        let bucket = try await server.createBucket()
        let printed = try await TestTools.boto3(
            server.endpoint, bucket: bucket.name,
            """
            s3.put_object(Bucket=bucket, Key="a/b.gz", Body=b"0123456789", ContentType="application/gzip", Metadata={"n": "1"})
            print(s3.get_object(Bucket=bucket, Key="a/b.gz", Range="bytes=2-4")["Body"].read().decode())
            print(s3.head_object(Bucket=bucket, Key="a/b.gz")["Metadata"])
            upload = s3.create_multipart_upload(Bucket=bucket, Key="a/c")["UploadId"]
            parts = [
                dict(PartNumber=n, ETag=s3.upload_part(Bucket=bucket, Key="a/c", UploadId=upload, PartNumber=n, Body=body)["ETag"])
                for n, body in ((1, b"1" * (5 << 20)), (2, b"2"))]
            s3.complete_multipart_upload(Bucket=bucket, Key="a/c", UploadId=upload, MultipartUpload={"Parts": parts})
            """)
        #expect(printed == "234\n{'n': '1'}")
        #expect(try await bucket.objects(prefix: "a/").map(\.key) == ["a/b.gz", "a/c"])
        #expect(try await bucket.objects().map(\.size) == [10, (5 << 20) + 1])
        #expect(try await bucket.bytes("a/b.gz") == Array("0123456789".utf8))
        #expect(try await bucket.head("a/c")?.header("etag")?.hasSuffix("-2\"") == true)
        #expect(try await bucket.bytes("a/d") == nil)
        #expect(try await bucket.head("a/d") == nil)
        let upload = try await bucket.beginUpload("a/e")
        #expect(try await bucket.uploads() == [S3Bucket.Upload(key: "a/e", id: upload)])
        try await bucket.delete("a/b.gz")
        #expect(try await bucket.objects().map(\.key) == ["a/c"])
    }

    @Test func verifiesSignaturesAndDigests() async throws {
        let server = try SharedS3.server
        let bucket = try await server.createBucket()
        try await bucket.put("a", [1])
        let wrongSecret = try await TestTools.boto3(
            server.endpoint, bucket: bucket.name, secret: "another", "print(refusal(s3.list_objects_v2))")
        #expect(wrongSecret == "403 SignatureDoesNotMatch")

        let signed = S3Signature.sign(
            "PUT", path: "/\(bucket.name)/b", query: "", host: "127.0.0.1", body: Array("as signed".utf8))
        let caller = HTTPCaller(port: server.port)
        let otherBody = try await caller.perform(
            HTTPCall("PUT", "/\(bucket.name)/b", headers: signed, body: Array("as altered".utf8)))
        #expect(otherBody.status == 400 && otherBody.text.contains("XAmzContentSHA256Mismatch"))
        let otherKey = try await caller.perform(
            HTTPCall("PUT", "/\(bucket.name)/c", headers: signed, body: Array("as signed".utf8)))
        #expect(otherKey.status == 403 && otherKey.text.contains("SignatureDoesNotMatch"))
        let wrongMD5 = try await bucket.perform("PUT", key: "d", headers: [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")])
        #expect(wrongMD5.status == 400 && wrongMD5.text.contains("BadDigest"))
        #expect(try await bucket.objects().map(\.key) == ["a"])

        let links = try await TestTools.boto3(
            server.endpoint, bucket: bucket.name,
            """
            for seconds in (60, 604801): print(s3.generate_presigned_url("get_object", dict(Bucket=bucket, Key="a"), seconds))
            """
        ).split(separator: "\n")
        for (link, status) in zip(links, [200, 400]) {
            let target = String(link.dropFirst(server.endpoint.utf8.count))
            let exchange = try await RawExchange.open(port: server.port)
            try await exchange.send("GET \(target) HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n\r\n")
            #expect(try await exchange.replies(1).first?.status == status)
            exchange.close()
            let forged = try await RawExchange.open(port: server.port)
            try await forged.send(
                "GET \(target.replacingOccurrences(of: "/a?", with: "/b?")) HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n\r\n")
            #expect(try await forged.replies(1).first.map { [400, 403].contains($0.status) } == true)
            forged.close()
        }
    }

    @Test func keepsAcknowledgedDataAfterKill() async throws {
        try await S3Server.running { server in
            let bucket = try await server.createBucket()
            try await bucket.put("a", Array("kept".utf8))
            let upload = try await bucket.beginUpload("b")
            try await server.kill()
            await #expect(throws: (any Error).self) { try await bucket.objects() }
            try await server.start()
            #expect(try await bucket.bytes("a") == Array("kept".utf8))
            #expect(try await bucket.uploads().map(\.id) == [upload])
        }
    }
}
