import Foundation
import Testing

@testable import FlowTestKit

/// Tests that ``R2Proxy`` applies each fault as often as its rule says, and to the selected requests.
@Suite(.serialized, .s3()) struct R2ProxyFaultTests {
    private static func proxied(
        _ body: (_ proxy: R2Proxy, _ viaProxy: S3Bucket, _ direct: S3Bucket) async throws -> Void
    ) async throws {
        let direct = try await SharedS3.bucket()
        try await R2Proxy.running(before: SharedS3.server) { proxy in
            try await body(proxy, S3Bucket(direct.name, port: proxy.port), direct)
        }
    }

    @Test func rulesApplyOnlyToMatchingRequests() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            proxy.inject(
                R2Rule(.internalError, on: .putObject, key: "b", skipping: 1, times: 2),
                R2Rule(.tooManyRequests(retryAfter: 3), on: .putObject, skipping: 2))
            var statuses: [Int] = []
            for key in ["a", "b", "b", "c", "b", "b", "a"] {
                let reply = try await viaProxy.perform("PUT", key: key, body: Array(key.utf8))
                statuses.append(reply.status)
                if reply.status == 429 { #expect(reply.header("retry-after") == "3" && reply.text.contains("TooManyRequests")) }
            }
            // The second rule does not count the requests that the first one affected.
            #expect(statuses == [200, 200, 500, 429, 500, 200, 200])
            #expect(proxy.faultsRemaining == 0)
            #expect(proxy.requests.map(\.serverStatus) == [200, 200, nil, nil, nil, 200, 200])
            #expect(try await direct.objects().map(\.key) == ["a", "b"])
            proxy.inject(.unavailable, times: 5)
            #expect(try await viaProxy.perform("GET").status == 503)
            #expect(proxy.faultsRemaining == 4)
            proxy.clearFaults()
            proxy.forget()
            #expect(try await viaProxy.perform("GET").status == 200)
            #expect(proxy.requests.map(\.number) == [1])
        }
    }

    @Test func resetRequestIsNeverApplied() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            proxy.inject(.resetRequest(afterBytes: 100_000), on: .putObject)
            await #expect(throws: (any Error).self) { try await viaProxy.put("a", Array(repeating: 1, count: 8 << 20)) }
            // The client sees the reset before the proxy has recorded the end of the request.
            try await proxy.wait(for: "the end of the request") { $0.first?.isOver == true }
            let truncated = try #require(proxy.requests.first)
            #expect(truncated.status == nil && truncated.serverStatus == nil)
            #expect(truncated.bodyBytes >= 100_000 && truncated.bodyBytes < 8 << 20)
            proxy.inject(.answer(500, code: "InternalError", isEarly: true), on: .putObject)
            // The client may fail before it reads the response.
            _ = try? await viaProxy.perform("PUT", key: "a", body: Array(repeating: 1, count: 8 << 20))
            try await proxy.wait(for: "the response") { $0.last?.status == 500 && $0.last?.isOver == true }
            #expect(proxy.requests.last.map { $0.bodyBytes < 8 << 20 } == true)
            #expect(try await direct.objects().isEmpty)
        }
    }

    @Test func lostReplyFollowsAppliedRequest() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            proxy.inject(.loseReply, on: .putObject)
            await #expect(throws: (any Error).self) { try await viaProxy.put("a", [1]) }
            try await proxy.wait(for: "the end of the request") { $0.last?.isOver == true }
            #expect(proxy.requests.map(\.serverStatus) == [200])
            #expect(proxy.requests.map(\.status) == [nil])
            #expect(try await direct.bytes("a") == [1])
        }
    }

    @Test func completeUploadCanReturnErrorInBody() async throws {
        try await Self.proxied { proxy, _, direct in
            let program = """
                def complete(key):
                    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
                    answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b".")
                    parts = {"Parts": [dict(PartNumber=1, ETag=answer["ETag"])]}
                    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts)
                for key in "abc":
                    try: print(complete(key)["ETag"].count("0"))
                    except Exception as problem: print(type(problem).__name__)
                """
            proxy.inject(
                R2Rule(.errorInBody(code: "InternalError", isApplied: false), on: .completeUpload),
                R2Rule(.errorInBody(code: "InternalError", isApplied: true), on: .completeUpload),
                R2Rule(.wrongETag, on: .completeUpload))
            // boto3 treats an error in a 200 as a 500.
            let printed = try await TestTools.boto3(proxy.endpoint, bucket: direct.name, program)
            #expect(printed == "ClientError\nClientError\n29")
            #expect(proxy.requests(.completeUpload).map(\.status) == [200, 200, 200])
            #expect(proxy.requests(.completeUpload).map(\.serverStatus) == [nil, 200, 200])
            #expect(try await direct.objects().map(\.key) == ["b", "c"])
            #expect(try await direct.uploads().map(\.key) == ["a"])
        }
    }

    @Test func corruptsTruncatesAndMislabelsReplies() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0) }
            proxy.inject(.wrongETag, on: .putObject)
            let written = try await viaProxy.perform("PUT", key: "a", body: bytes)
            #expect(written.status == 200)
            #expect(try await direct.head("a")?.header("etag") != written.header("etag"))

            proxy.inject(.corruptReply(atByte: 200_000), on: .getObject)
            let corrupted = try #require(try await viaProxy.bytes("a"))
            #expect(corrupted.count == bytes.count)
            #expect(corrupted.indices.filter { corrupted[$0] != bytes[$0] } == [200_000])

            proxy.inject(.truncateReply(afterBytes: 100_000), on: .getObject)
            let short = try await RawExchange.open(port: proxy.port)
            let signed = S3Signature.sign("GET", path: "/\(direct.name)/a", query: "", host: "127.0.0.1", body: [])
            let fields = signed.map { "\($0.name): \($0.value)\r\n" }.joined()
            try await short.send("GET /\(direct.name)/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\(fields)\r\n")
            try await short.waitUntilClosed()
            #expect(short.receivedText.contains("300000"))
            #expect(short.received.suffix(100) == bytes[99_900..<100_000])
            #expect(proxy.requests.last?.replyBytes == 100_000)
            #expect(try await viaProxy.bytes("a") == bytes)
        }
    }

    @Test func stalledRequestContinuesAfterRelease() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            proxy.inject(
                R2Rule(.stall(isApplied: false), on: .putObject, key: "a"),
                R2Rule(.stall(isApplied: true), on: .putObject, key: "b"))
            async let first: Void = viaProxy.put("a", [1])
            async let second: Void = viaProxy.put("b", [2])
            try await proxy.wait(for: "one request to be applied") { $0.contains { $0.serverStatus == 200 } && $0.count == 2 }
            #expect(try await direct.objects().map(\.key) == ["b"])
            #expect(proxy.requests.allSatisfy { !$0.isOver && $0.status == nil })
            proxy.release()
            _ = try await (first, second)
            #expect(try await direct.objects().map(\.key) == ["a", "b"])

            // A stalled request is not applied if its client disconnects.
            proxy.inject(.stall(isApplied: false), on: .deleteObject)
            let leaving = try await RawExchange.open(port: proxy.port)
            let signed = S3Signature.sign("DELETE", path: "/\(direct.name)/a", query: "", host: "127.0.0.1", body: [])
            let fields = signed.map { "\($0.name): \($0.value)\r\n" }.joined()
            try await leaving.send("DELETE /\(direct.name)/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\(fields)\r\n")
            try await proxy.wait(for: "the request") { $0.count == 3 }
            leaving.close()
            try await proxy.wait(for: "the end of the request") { $0.last?.isOver == true }
            #expect(proxy.requests.last?.serverStatus == nil)
            #expect(try await direct.objects().map(\.key) == ["a", "b"])

            // A stalled request that is not released ends with the proxy.
            proxy.inject(.stall(isApplied: true), on: .putObject)
            let left = try await RawExchange.open(port: proxy.port)
            let put = S3Signature.sign("PUT", path: "/\(direct.name)/c", query: "", host: "127.0.0.1", body: [])
            let names = put.map { "\($0.name): \($0.value)\r\n" }.joined()
            try await left.send("PUT /\(direct.name)/c HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\(names)\r\n")
            try await proxy.wait(for: "the request to be applied") { $0.last?.serverStatus == 200 }
        }
    }

    @Test func slowFaultLimitsThroughput() async throws {
        try await Self.proxied { proxy, viaProxy, direct in
            proxy.inject(.slow(bytesPerSecond: 1 << 20))
            let clock = ContinuousClock()
            let began = clock.now
            try await viaProxy.put("a", Array(repeating: 1, count: 512 << 10))
            #expect(clock.now - began >= .milliseconds(500))
            #expect(try await direct.bytes("a")?.count == 512 << 10)
        }
    }
}
