import FlowCore
import FlowTestKit
import Foundation
import Synchronization
import Testing

@testable import FlowObjects

@Suite(.serialized, .s3()) struct R2StoreTests {
    private static func store(
        limits change: (inout R2Limits) -> Void = { _ in }, observer: @escaping R2Observer = { _ in },
        _ body: (R2ObjectStore, R2Proxy, S3Bucket) async throws -> Void
    ) async throws {
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            var settings = try TestStore.settings(proxy.endpoint, bucket.name)
            change(&settings.limits)
            try await TestStore.running(settings, observer: observer) { try await body($0, proxy, bucket) }
        }
    }

    // MARK: Uploads

    @Test func storesAttributesAndSplitsOnlyLargeObjects() async throws {
        try await Self.store { store, proxy, bucket in
            for (key, size) in [("small", 1_000), ("large", TestStore.partBytes + 1)] {
                let attributes = ObjectAttributes(metadata: ["content-hash": "0a1b"])
                try await TestStore.put(store, key, TestStore.bytes(size), attributes)
                let head = try #require(try await bucket.head(key))
                #expect(head.header("content-type") == "application/gzip")
                #expect(head.header("content-encoding") == nil)
                #expect(head.header("cache-control") == "no-transform")
                #expect(head.header("x-amz-meta-content-hash") == "0a1b")
            }
            // One request for an object of one part; otherwise parts of equal size, except the last.
            #expect(proxy.requests(.putObject).count == 1)
            #expect(
                proxy.requests(.uploadPart).sorted { ($0.part ?? 0) < ($1.part ?? 0) }.map(\.bodyBytes) == [
                    TestStore.partBytes, 1,
                ])
            #expect(proxy.requests(.completeUpload).count == 1)
        }
    }

    @Test func limitsPartsInFlight() async throws {
        try await Self.store(limits: { $0.partsInFlight = 2 }) { store, proxy, bucket in
            proxy.inject(.stall(isApplied: false), on: .uploadPart, times: 3)
            let bytes = TestStore.bytes(5 * TestStore.partBytes)
            let writing = Task { try await TestStore.put(store, "a", bytes) }
            try await proxy.wait(for: "two parts") { $0.count { $0.isStalled } == 2 }
            #expect(proxy.requests(.uploadPart).count == 2)
            proxy.release()
            try await proxy.wait(for: "the third part") { $0.count { $0.isStalled } == 3 }
            proxy.release()
            _ = try await writing.value
            let stored = try await bucket.bytes("a")
            #expect(stored == bytes)
        }
    }

    @Test func rejectsObjectWithTooManyParts() async throws {
        try await Self.store(limits: { $0.maximumParts = 3 }) { store, proxy, bucket in
            let bytes = TestStore.bytes(3 * TestStore.partBytes)
            try await TestStore.put(store, "a", bytes)
            let error = await #expect(throws: ObjectError.self) { try await TestStore.put(store, "b", bytes + [1]) }
            #expect(
                error == .rejected("The object has more than 3 parts, the maximum of R2: increase FLOWHUB_R2_PART_BYTES."))
            #expect(try await bucket.objects().map(\.key) == ["a"])
            #expect(try await bucket.uploads() == [])
        }
    }

    @Test func retriesRateLimitedWritesToSameKey() async throws {
        try await Self.store { store, proxy, bucket in
            proxy.limitWrites(true)
            try await TestStore.put(store, "a", [1])
            try await store.delete("a")
            try await TestStore.put(store, "a", [2])
            let stored = try await bucket.bytes("a")
            #expect(stored == [2])
            #expect(proxy.requests.contains { $0.status == 429 })
        }
    }

    // MARK: Download links

    @Test func presignedLinkGrantsAccessToOneObjectOnly() async throws {
        try await Self.store { store, _, bucket in
            let bytes = TestStore.bytes(10_000)
            try await TestStore.put(store, "a/b:c", bytes)
            let link = try #require(try store.presign("a/b:c", seconds: 60, fileName: "Käse \"1\".json.gz"))
            let program = """
                import sys, urllib.request
                with urllib.request.urlopen(sys.argv[1]) as reply:
                    print(reply.headers["Content-Disposition"])
                    print(reply.read().hex())
                """
            let lines = try await TestTools.python(program, [link]).split(separator: "\n")
            #expect(lines.first == "attachment; filename=\"K_se _1_.json.gz\"; filename*=UTF-8''K%C3%A4se%20%221%22.json.gz")
            #expect(lines.last.map(String.init) == bytes.hexadecimal)
            let changed = link.replacingOccurrences(of: "a/b", with: "a/x")
            #expect(changed != link)
            await #expect(throws: (any Error).self) { try await TestTools.python(program, [changed]) }
        }
    }

    // MARK: Credentials and access

    @Test func reportsSignatureMismatchWithoutSecret() async throws {
        let bucket = try await SharedS3.bucket()
        let credentials = R2Credentials(accessKeyID: S3Server.accessKey, secretAccessKey: "not-the-secret")
        let settings = try TestStore.settings(try SharedS3.server.endpoint, bucket.name, credentials: credentials)
        try await TestStore.running(settings) { store in
            let error = await #expect(throws: ObjectError.self) { try await TestStore.put(store, "a", [1]) }
            guard case .rejected(let text)? = error else { throw ObjectError.invalid("\(String(describing: error))") }
            #expect(text.contains("403 SignatureDoesNotMatch"))
            #expect(!text.contains("secret"))
        }
    }

    @Test(arguments: [3_600, -3_600]) func reportsClockSkew(_ seconds: Int64) async throws {
        let bucket = try await SharedS3.bucket()
        let settings = try TestStore.settings(try SharedS3.server.endpoint, bucket.name)
        try await TestStore.running(settings, now: { TestStore.now().advanced(bySeconds: seconds) }) { store in
            let error = await #expect(throws: ObjectError.self) { try await TestStore.put(store, "a", [1]) }
            guard case .rejected(let text)? = error else { throw ObjectError.invalid("\(String(describing: error))") }
            let pattern = seconds > 0 ? "clock is 3[56][0-9][0-9] s ahead of" : "clock is 3[56][0-9][0-9] s behind"
            #expect(text.range(of: pattern, options: .regularExpression) != nil, "\(text)")
            // The response to a HEAD has no body, and so no error code.
            let short = await #expect(throws: ObjectError.self) { try await store.head("a") }
            guard case .rejected(let headText)? = short else { throw ObjectError.invalid("\(String(describing: short))") }
            #expect(headText.range(of: pattern, options: .regularExpression) != nil, "\(headText)")
        }
    }

    @Test func reportsMissingBucket() async throws {
        let settings = try TestStore.settings(try SharedS3.server.endpoint, "no-such-bucket")
        try await TestStore.running(settings) { store in
            func text(_ call: () async throws(ObjectError) -> Void) async -> String {
                do throws(ObjectError) { try await call() } catch {
                    if case .rejected(let text) = error { return text }
                }
                return ""
            }
            let texts = [
                await text { () async throws(ObjectError) in _ = try await TestStore.put(store, "a", [1]) },
                await text { () async throws(ObjectError) in _ = try await store.download("a", range: nil) },
                await text { () async throws(ObjectError) in _ = try await store.list(prefix: "", after: nil, limit: 1) },
            ]
            for text in texts { #expect(text.contains("no-such-bucket") && text.contains("R2_BUCKET_NAME"), "\(text)") }
        }
    }

    /// The file contains the new keys before R2 knows them: rejected requests are retried until R2 accepts them.
    @Test func rotatesCredentialsWithoutRestart() async throws {
        let bucket = try await SharedS3.bucket()
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let path = folder.path + "/keys"
        func write(_ secret: String) throws {
            let text = "{\"access_key_id\": \"\(S3Server.accessKey)\", \"secret_access_key\": \"\(secret)\"}"
            try text.write(toFile: path, atomically: true, encoding: .utf8)
        }
        try write(S3Server.secretKey)
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            let environment = [
                "R2_ENDPOINT": proxy.endpoint, "R2_BUCKET_NAME": bucket.name, "FLOWHUB_R2_CREDENTIALS": path,
            ]
            var settings = try #require(try R2Settings.read { environment[$0] })
            settings.limits = TestStore.limits
            try await TestStore.running(settings) { store in
                try await TestStore.put(store, "a", [1])
                try write("one-that-is-not-known-yet")
                try await eventually("the new keys to be seen", every: .milliseconds(100)) {
                    store.client.credentials.current().changedAt != nil
                }
                async let put = TestStore.put(store, "b", [2])
                try await proxy.wait(for: "two rejections") { $0.count { $0.status == 403 } >= 2 }
                // The server's keys cannot change: restoring the old key simulates that R2 now knows the new one.
                try write(S3Server.secretKey)
                _ = try await put
                let stored = try await bucket.bytes("b")
                #expect(stored == [2])
            }
        }
    }

    @Test func reportsUnreachableServer() async throws {
        var settings = try TestStore.settings("http://127.0.0.1:\(try FreePort.choose())", "bucket")
        settings.limits.attempts = 2
        try await TestStore.running(settings) { store in
            let error = await #expect(throws: ObjectError.self) { try await TestStore.put(store, "a", [1]) }
            #expect(error == .unavailable("R2 request failed: cannot connect."))
        }
    }

    // MARK: Observation

    @Test func observerReceivesEveryOperation() async throws {
        let observed = Mutex<[R2Operation]>([])
        try await Self.store(observer: { operation in observed.withLock { $0.append(operation) } }) { store, proxy, _ in
            func names() -> [String] {
                observed.withLock { all in
                    defer { all = [] }
                    return all.map { "\($0.name) \($0.bytes) \($0.isSuccess)" }
                }
            }
            try await TestStore.put(store, "a", TestStore.bytes(1_000))
            #expect(names() == ["put 1000 true"])
            _ = try? await TestStore.put(store, "a", [1])
            #expect(names() == ["head 0 true", "put 0 false"])
            try await TestStore.put(store, "b", TestStore.bytes(TestStore.partBytes + 1))
            #expect(names().sorted() == ["part 1 true", "part 5242880 true", "put 5242881 true"])
            _ = try await TestStore.get(store, "a", range: 10..<110)
            #expect(names() == ["get 100 true"])
            _ = try await store.download("a", range: nil)
            #expect(names() == ["get 0 true"])
            _ = try await store.head("none")
            try await store.delete("none")
            _ = try await store.list(prefix: "", after: nil, limit: 1)
            #expect(names() == ["head 0 true", "delete 0 true", "list 0 true"])
            proxy.inject(.internalError, on: .getObject, times: 100)
            _ = try? await TestStore.get(store, "a")
            #expect(names() == ["get 0 false"])
        }
    }

    // MARK: Lists

    @Test func listsWithLimitAboveServerPageSize() async throws {
        try await Self.store { store, proxy, bucket in
            let keys = (0..<12).map { "k/\($0 + 10)" }
            for key in keys { try await bucket.put(key, [1]) }
            let all = try await store.list(prefix: "k/", after: nil, limit: 5_000)
            #expect(all.objects.map(\.key) == keys)
            #expect(!all.hasMore)
            // Keys that the hub would not create are decoded correctly, too.
            try await bucket.put("odd/a b+c%&<é", [1])
            #expect(try await store.list(prefix: "odd/", after: nil, limit: 10).objects.map(\.key) == ["odd/a b+c%&<é"])
        }
    }
}
