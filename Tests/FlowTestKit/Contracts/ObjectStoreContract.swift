public import FlowCore
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Contract tests that every ``ObjectStore`` with its ``ObjectMaintenance`` passes.
public enum ObjectStoreContract {
    /// An empty store under test.
    public struct Subject: Sendable {
        public let store: any ObjectStore
        public let maintenance: any ObjectMaintenance
        /// Size of an upload part in bytes, if the store uses parts. The cases test object sizes around it.
        public let partBytes: Int
        /// Whether the store supports download links.
        public let hasLinks: Bool
        /// Whether the store supports lifecycle rules.
        public let hasLifecycle: Bool

        public init(
            store: any ObjectStore, maintenance: any ObjectMaintenance, partBytes: Int, hasLinks: Bool, hasLifecycle: Bool
        ) {
            self.store = store
            self.maintenance = maintenance
            self.partBytes = partBytes
            self.hasLinks = hasLinks
            self.hasLifecycle = hasLifecycle
        }
    }

    public typealias Case = ContractCase<Subject>

    public static let cases: [Case] = objects + rules + races + lists + maintenance

    // MARK: Helpers

    /// Pseudorandom bytes: another seed or another offset yields different bytes.
    static func bytes(_ count: Int, seed: Int) -> [UInt8] {
        var state = UInt64(truncatingIfNeeded: seed) &* 0x9e37_79b9_7f4a_7c15 | 1
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                withUnsafeBytes(of: state) { word in
                    let piece = min(8, count - filled)
                    for index in 0..<piece { buffer[filled + index] = word[(index + 3) % 8] }
                    filled += piece
                }
            }
        }
    }

    /// Compares bytes outside of `#expect`, which would print the differences of large arrays.
    static func areSame(_ left: some Collection<UInt8>, _ right: some Collection<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        return Array(left).withUnsafeBytes { left in
            Array(right).withUnsafeBytes { right in
                guard let one = left.baseAddress, let other = right.baseAddress else { return true }
                return memcmp(one, other, left.count) == 0
            }
        }
    }

    /// Uploads an object in chunks of 999,983 bytes, a prime that divides no part size.
    @discardableResult
    static func put(_ subject: Subject, _ key: String, _ bytes: [UInt8]) async throws -> ObjectInfo {
        let upload = try await subject.store.upload(key, ObjectAttributes())
        do {
            try await self.write(bytes, to: upload)
            return try await upload.finish()
        } catch {
            await upload.abort()
            throw error
        }
    }

    static func write(_ bytes: [UInt8], to upload: any ObjectUpload) async throws {
        let piece = 999_983
        for start in stride(from: 0, to: bytes.count, by: piece) {
            try await upload.write(Array(bytes[start..<min(bytes.count, start + piece)]))
        }
    }

    static func get(_ subject: Subject, _ key: String, range: Range<Int>? = nil) async throws -> [UInt8] {
        let download = try await subject.store.download(key, range: range)
        var bytes: [UInt8] = []
        while let piece = try await download.next() { bytes += piece }
        // A finished download stays finished.
        #expect(try await download.next() == nil)
        return bytes
    }

    static func isInvalid(_ error: any Error) -> Bool {
        if case .invalid(let text)? = error as? ObjectError { return !text.isEmpty }
        return false
    }

    /// Expects that the store has exactly these objects and no unfinished upload.
    static func expectOnly(_ keys: [String], _ subject: Subject) async throws {
        #expect(try await subject.store.list(prefix: "", after: nil, limit: 1_000).objects.map(\.key) == keys)
        #expect(try await subject.maintenance.unfinishedUploads(prefix: "") == [])
    }
}
