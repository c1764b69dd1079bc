import FlowCore
import FlowTestKit
import Foundation
import Logging
import Synchronization

@testable import FlowObjects

/// Creates ``R2ObjectStore`` instances for tests, with small parts and short backoff.
enum TestStore {
    static let partBytes = R2Limits.partBytesRange.lowerBound

    static var limits: R2Limits {
        var limits = R2Limits()
        limits.partBytes = Self.partBytes
        limits.retryBaseMilliseconds = 1
        return limits
    }

    static let credentials = R2Credentials(accessKeyID: S3Server.accessKey, secretAccessKey: S3Server.secretKey)

    static func now() -> Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000)) }

    static func settings(
        _ endpoint: String, _ bucket: String, credentials: R2Credentials = credentials
    ) throws -> R2Settings {
        var settings = try R2Settings(endpoint: endpoint, bucket: bucket, credentials: credentials)
        settings.limits = Self.limits
        return settings
    }

    /// Creates a store, runs the body, and closes the store.
    static func running<Value>(
        _ settings: R2Settings, now: @escaping @Sendable () -> Timestamp = now, observer: @escaping R2Observer = { _ in },
        _ body: (R2ObjectStore) async throws -> Value
    ) async throws -> Value {
        let store = try R2ObjectStore(settings, logger: Logger(label: "test"), now: now, observer: observer)
        do {
            let value = try await body(store)
            await store.close()
            return value
        } catch {
            await store.close()
            throw error
        }
    }

    /// Pseudo-random bytes, determined by the seed.
    static func bytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        // Eight at a time: without optimization, each step takes long.
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            for offset in stride(from: 0, to: count - count % 8, by: 8) {
                bytes.storeBytes(of: random.next().littleEndian, toByteOffset: offset, as: UInt64.self)
            }
            var rest = random.next()
            for index in (count - count % 8)..<count {
                buffer[index] = UInt8(truncatingIfNeeded: rest)
                rest >>= 8
            }
            filled = count
        }
    }

    /// Uploads an object. Aborts the upload on any error, as callers of a store must.
    @discardableResult
    static func put(
        _ store: R2ObjectStore, _ key: String, _ bytes: [UInt8], _ attributes: ObjectAttributes = ObjectAttributes()
    ) async throws(ObjectError) -> ObjectInfo {
        let upload = try await store.upload(key, attributes)
        do throws(ObjectError) {
            try await upload.write(bytes)
            return try await upload.finish()
        } catch {
            await upload.abort()
            throw error
        }
    }

    static func get(_ store: R2ObjectStore, _ key: String, range: Range<Int>? = nil) async throws(ObjectError) -> [UInt8] {
        let download = try await store.download(key, range: range)
        var bytes: [UInt8] = []
        while let more = try await download.next() { bytes += more }
        return bytes
    }
}
