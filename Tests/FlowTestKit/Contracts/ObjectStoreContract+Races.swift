import FlowCore
import Testing

extension ObjectStoreContract {
    /// Opens and writes all uploads, and then finishes them concurrently.
    /// - Returns: the outcome of each upload, in the order of `contents`.
    private static func race(_ subject: Subject, _ key: String, _ contents: [[UInt8]]) async throws -> [Result<
        ObjectInfo, any Error
    >] {
        var uploads: [any ObjectUpload] = []
        for bytes in contents {
            let upload = try await subject.store.upload(key, ObjectAttributes())
            try await Self.write(bytes, to: upload)
            uploads.append(upload)
        }
        return await withTaskGroup(of: (Int, Result<ObjectInfo, any Error>).self) { group in
            for (number, upload) in uploads.enumerated() {
                group.addTask {
                    do { return (number, .success(try await upload.finish())) } catch { return (number, .failure(error)) }
                }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }.sorted { $0.key < $1.key }.map(\.value)
        }
    }

    private static func expectOneWinner(_ subject: Subject, _ key: String, _ contents: [[UInt8]]) async throws {
        let results = try await Self.race(subject, key, contents)
        let winners = results.indices.filter { if case .success = results[$0] { true } else { false } }
        #expect(winners.count == 1)
        for case .failure(let error) in results { #expect(error as? ObjectError == .exists) }
        let winner = try #require(winners.first)
        #expect(try await subject.store.head(key)?.etag == results[winner].get().etag)
        #expect(Self.areSame(try await Self.get(subject, key), contents[winner]))
        try await Self.expectOnly([key], subject)
    }

    static let races: [Case] = [
        Case("an existing object is never overwritten") { subject in
            for (key, size) in [("small", 10), ("large", subject.partBytes + 1)] {
                let bytes = Self.bytes(size, seed: 1)
                let written = try await Self.put(subject, key, bytes)
                for other in [10, size, 2 * subject.partBytes + 1] {
                    await #expect(throws: ObjectError.exists) { try await Self.put(subject, key, Self.bytes(other, seed: 2)) }
                    await #expect(throws: ObjectError.exists) { try await Self.put(subject, key, bytes) }
                }
                #expect(Self.areSame(try await Self.get(subject, key), bytes))
                #expect(try await subject.store.head(key)?.etag == written.etag)
            }
            try await Self.expectOnly(["large", "small"], subject)
        },
        Case("exactly one of many small uploads to one key succeeds") { subject in
            try await Self.expectOneWinner(subject, "a/b", (0..<8).map { Self.bytes(1_000 + $0, seed: $0) })
        },
        Case("exactly one of several large uploads to one key succeeds") { subject in
            try await Self.expectOneWinner(
                subject, "a/b", (0..<3).map { Self.bytes(subject.partBytes + 1 + $0, seed: $0) })
        },
        Case("exactly one of a small and a large upload to one key succeeds") { subject in
            try await Self.expectOneWinner(
                subject, "a/b", [Self.bytes(10, seed: 1), Self.bytes(2 * subject.partBytes, seed: 2)])
        },
        Case("concurrent transfers of different keys are independent") { subject in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<6 {
                    group.addTask {
                        let bytes = Self.bytes(number * subject.partBytes / 3 + number, seed: number)
                        try await Self.put(subject, "a/\(number)", bytes)
                        #expect(Self.areSame(try await Self.get(subject, "a/\(number)"), bytes))
                    }
                }
                try await group.waitForAll()
            }
            try await Self.expectOnly((0..<6).map { "a/\($0)" }, subject)
        },
        Case("an object is not visible before its upload finishes") { subject in
            let bytes = Self.bytes(2 * subject.partBytes + 1, seed: 1)
            let upload = try await subject.store.upload("a", ObjectAttributes())
            try await Self.write(bytes, to: upload)
            #expect(try await subject.store.head("a") == nil)
            await #expect(throws: ObjectError.notFound) { try await subject.store.download("a", range: nil) }
            #expect(try await subject.store.list(prefix: "", after: nil, limit: 10).objects.isEmpty)
            _ = try await upload.finish()
            #expect(try await subject.store.head("a")?.size == bytes.count)
        },
        Case("an aborted upload leaves nothing at any stage") { subject in
            for size in [0, 10, subject.partBytes, subject.partBytes + 1, 3 * subject.partBytes] {
                let upload = try await subject.store.upload("a/b", ObjectAttributes())
                try await Self.write(Self.bytes(size, seed: size), to: upload)
                await upload.abort()
                await upload.abort()
                await #expect(throws: ObjectError.self) { try await upload.write([1]) }
                await #expect(throws: ObjectError.self) { try await upload.finish() }
                try await Self.expectOnly([], subject)
            }
            try await Self.put(subject, "a/b", [1])
            #expect(try await Self.get(subject, "a/b") == [1])
        },
        Case("a finished upload can be neither aborted nor continued") { subject in
            for (key, size) in [("small", 10), ("large", subject.partBytes + 1)] {
                let upload = try await subject.store.upload(key, ObjectAttributes())
                try await Self.write(Self.bytes(size, seed: 1), to: upload)
                let written = try await upload.finish()
                await upload.abort()
                await #expect(throws: ObjectError.self) { try await upload.write([1]) }
                await #expect(throws: ObjectError.self) { try await upload.finish() }
                await upload.abort()
                #expect(try await subject.store.head(key)?.etag == written.etag)
            }
            try await Self.expectOnly(["large", "small"], subject)
        },
    ]
}
