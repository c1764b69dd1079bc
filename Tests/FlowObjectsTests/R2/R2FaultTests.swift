import FlowCore
import FlowTestKit
import Testing

@testable import FlowObjects

/// Injects a fault into each request of an upload, once or permanently. The result must be exactly one correct object,
/// or a clean failure.
@Suite(.serialized, .s3()) struct R2FaultTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var fault: R2Fault
        var operation: ProxyOperation
        var skipping = 0
        var isPermanent: Bool

        var testDescription: String {
            "\(self.fault) on \(self.operation) \(self.skipping)\(self.isPermanent ? ", permanent" : "")"
        }
    }

    private static let faults: [R2Fault] = [
        .internalError, .unavailable, .tooManyRequests(), .answer(503, code: "SlowDown", retryAfter: 1, isEarly: true),
        .answer(400, code: "BadDigest"), .resetRequest(), .resetRequest(afterBytes: 10_000), .loseReply,
        .errorInBody(code: "InternalError", isApplied: false), .errorInBody(code: "InternalError", isApplied: true), .wrongETag,
        .truncateReply(afterBytes: 10),
    ]

    private static let faultPoints: [(ProxyOperation, Int)] = [
        (.putObject, 0), (.createUpload, 0), (.uploadPart, 0), (.uploadPart, 2), (.completeUpload, 0),
    ]

    /// Permanent faults take the longest: a small run has only some of them.
    private static let permanentFaults: [R2Fault] = TestScale.pick(
        [.internalError, .loseReply, .errorInBody(code: "InternalError", isApplied: true)], full: Self.faults)

    static let cases =
        Self.faultPoints.flatMap { operation, skipping in
            Self.faults.map { Case(fault: $0, operation: operation, skipping: skipping, isPermanent: false) }
                + Self.permanentFaults.map { Case(fault: $0, operation: operation, skipping: skipping, isPermanent: true) }
        }

    /// Most of a case is waiting between two attempts.
    @Test func uploadUnderFaultsIsCorrectOrFailsCleanly() async {
        await concurrently(Self.cases, atMost: 12, Self.upload(under:))
    }

    private static func upload(under fault: Case) async throws {
        let comment: Comment = "\(fault.testDescription)"
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            var settings = try TestStore.settings(proxy.endpoint, bucket.name)
            settings.limits.attempts = 3
            try await TestStore.running(settings) { store in
                let isSmall = fault.operation == .putObject
                let bytes = TestStore.bytes(isSmall ? 100_000 : 2 * TestStore.partBytes + 1_000)
                proxy.inject(
                    fault.fault, on: fault.operation, skipping: fault.skipping, times: fault.isPermanent ? 1_000 : 1)
                let outcome: Result<ObjectInfo, ObjectError>
                do throws(ObjectError) {
                    outcome = .success(try await TestStore.put(store, "a/b", bytes))
                } catch {
                    outcome = .failure(error)
                }
                let isHit = proxy.requests.contains { $0.fault != nil }
                #expect(isHit, comment)
                proxy.clearFaults()
                switch outcome {
                case .success(let info):
                    #expect(info.size == bytes.count, comment)
                    let stored = try await bucket.bytes("a/b")
                    #expect(stored == bytes, comment)
                    #expect(try await store.head("a/b")?.etag == info.etag, comment)
                case .failure(let error):
                    // A single fault must have been retried successfully.
                    #expect(fault.isPermanent, "\(comment): \(error)")
                    #expect(error != .exists, comment)
                    #expect(try await bucket.objects() == [], comment)
                    // The same upload succeeds afterwards.
                    try await TestStore.put(store, "a/b", bytes)
                    let stored = try await bucket.bytes("a/b")
                    #expect(stored == bytes, comment)
                }
                // Only the store knows an upload whose id was lost with the reply; the import sweep finds it.
                let created = proxy.requests(.createUpload).filter { $0.serverStatus == 200 }.count
                let known = proxy.requests(.createUpload).filter { $0.serverStatus == 200 && $0.fault == nil }.count
                #expect(try await bucket.uploads().count <= created - known, comment)
            }
        }
    }

    // MARK: Objects of other uploaders

    /// A put fails because of another upload's object, and its reply is lost. The object must not be reported as the
    /// upload's own, although it has the same bytes, and `abort()` must not delete it.
    @Test(arguments: [100_000, 2 * TestStore.partBytes + 1])
    func lostReplyKeepsObjectOfOtherUploader(_ size: Int) async throws {
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            try await TestStore.running(try TestStore.settings(proxy.endpoint, bucket.name)) { store in
                let bytes = TestStore.bytes(size)
                let upload = try await store.upload("a", ObjectAttributes())
                try await upload.write(bytes)
                try await TestStore.put(store, "a", bytes)
                proxy.inject(.loseReply, on: size > TestStore.partBytes ? .completeUpload : .putObject)
                await #expect(throws: ObjectError.exists) { try await upload.finish() }
                await upload.abort()
                let stored = try await bucket.bytes("a")
                #expect(stored == bytes)
                #expect(try await bucket.uploads() == [])
            }
        }
    }

    // MARK: Cancellation

    /// The writing task is cancelled during a request that the store executes nevertheless.
    @Test(arguments: [ProxyOperation.putObject, .uploadPart, .completeUpload])
    func cancelledUploadLeavesNoObjectOrUpload(_ operation: ProxyOperation) async throws {
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            try await TestStore.running(try TestStore.settings(proxy.endpoint, bucket.name)) { store in
                proxy.inject(.stall(isApplied: true), on: operation)
                let bytes = TestStore.bytes(operation == .putObject ? 1_000 : 3 * TestStore.partBytes)
                let task = Task { () -> ObjectError? in
                    do throws(ObjectError) {
                        try await TestStore.put(store, "a", bytes)
                        return nil
                    } catch {
                        return error
                    }
                }
                try await proxy.wait(for: "the request") { $0.contains { $0.fault != nil && $0.serverStatus == 200 } }
                task.cancel()
                guard case .unavailable? = await task.value else { throw ObjectError.invalid("the upload was not cancelled") }
                #expect(try await bucket.objects() == [])
                #expect(try await bucket.uploads() == [])
            }
        }
    }

    // MARK: Reading

    @Test(arguments: [R2Fault.internalError, .unavailable, .resetRequest(), .loseReply, .truncateReply(afterBytes: 1_000_000)])
    func downloadResumesAfterFault(_ fault: R2Fault) async throws {
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            try await TestStore.running(try TestStore.settings(proxy.endpoint, bucket.name)) { store in
                let bytes = TestStore.bytes(4_000_000)
                try await TestStore.put(store, "a", bytes)
                for range in [nil, 0..<4_000_000, 500_000..<3_500_000] as [Range<Int>?] {
                    proxy.forget()
                    proxy.inject(fault, on: .getObject, times: 2)
                    let read = try await TestStore.get(store, "a", range: range)
                    #expect(read == Array(bytes[range ?? 0..<bytes.count]))
                    #expect(proxy.requests(.getObject).count == 3)
                }
            }
        }
    }

    @Test func truncatedDownloadFailsAsCorrupted() async throws {
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            try await TestStore.running(try TestStore.settings(proxy.endpoint, bucket.name)) { store in
                try await TestStore.put(store, "a", TestStore.bytes(4_000_000))
                proxy.inject(.truncateReply(afterBytes: 10), on: .getObject, times: 1_000)
                let error = await #expect(throws: ObjectError.self) { try await TestStore.get(store, "a") }
                guard case .corrupted? = error else { throw ObjectError.invalid("\(String(describing: error))") }
                #expect(proxy.requests(.getObject).count == R2Limits().attempts)
            }
        }
    }

    @Test func objectReplacedDuringDownloadFailsAsCorrupted() async throws {
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            try await TestStore.running(try TestStore.settings(proxy.endpoint, bucket.name)) { store in
                let bytes = TestStore.bytes(4_000_000)
                try await TestStore.put(store, "a", bytes)
                proxy.inject(.truncateReply(afterBytes: 1_000_000), on: .getObject)
                let download = try await store.download("a", range: nil)
                let first = try #require(try await download.next())
                #expect(first == Array(bytes.prefix(first.count)))
                try await bucket.put("a", TestStore.bytes(4_000_000, seed: 2))
                let error = await #expect(throws: ObjectError.self) { while try await download.next() != nil {} }
                guard case .corrupted? = error else { throw ObjectError.invalid("\(String(describing: error))") }
                // The error is permanent.
                await #expect(throws: ObjectError.self) { try await download.next() }
            }
        }
    }

    @Test func rejectsObjectWithContentEncoding() async throws {
        let bucket = try await SharedS3.bucket()
        try await R2Proxy.running(before: try SharedS3.server) { proxy in
            try await TestStore.running(try TestStore.settings(proxy.endpoint, bucket.name)) { store in
                try await bucket.put("a", [1, 2, 3], headers: [("content-type", "text/plain"), ("content-encoding", "gzip")])
                // Requested whole, the object is decompressed and has no length. Requested by range, it still has its
                // Content-Encoding.
                let error = await #expect(throws: ObjectError.self) { try await store.download("a", range: nil) }
                guard case .unavailable? = error else { throw ObjectError.invalid("\(String(describing: error))") }
                let other = await #expect(throws: ObjectError.self) { try await store.download("a", range: 0..<2) }
                guard case .corrupted? = other else { throw ObjectError.invalid("\(String(describing: other))") }
            }
        }
    }
}
