import FlowCore
import Testing

extension ObjectStoreContract {
    static let objects: [Case] = [
        Case("an object and its info are returned as written") { subject in
            let bytes = Self.bytes(100_000, seed: 1)
            let written = try await Self.put(subject, "imports/1/2026/11/24/a/raw_data.json.gz", bytes)
            #expect(written.key == "imports/1/2026/11/24/a/raw_data.json.gz" && written.size == bytes.count)
            #expect(!written.etag.isEmpty && !written.etag.contains("\"") && written.storageClass == "STANDARD")
            let head = try #require(try await subject.store.head(written.key))
            #expect(head.key == written.key && head.size == written.size && head.etag == written.etag)
            #expect(head.lastModified > Timestamp(milliseconds: 1_700_000_000_000))
            #expect(try await subject.store.head(written.key) == head)
            let download = try await subject.store.download(written.key, range: nil)
            #expect(download.info.size == head.size && download.info.etag == head.etag && download.info.key == head.key)
            #expect(Self.areSame(try await Self.get(subject, written.key), bytes))
            #expect(!subject.store.provider.isEmpty && !subject.store.bucket.isEmpty)
        },
        Case("objects with sizes around one and two parts are returned complete") { subject in
            let part = subject.partBytes
            for (number, size) in [part - 1, part, part + 1, 2 * part, 2 * part + 1].enumerated() {
                let bytes = Self.bytes(size, seed: number)
                let written = try await Self.put(subject, "sizes/\(size)", bytes)
                #expect(written.size == size)
                #expect(try await subject.store.head("sizes/\(size)")?.etag == written.etag)
                #expect(Self.areSame(try await Self.get(subject, "sizes/\(size)"), bytes))
            }
            #expect(try await subject.maintenance.unfinishedUploads(prefix: "") == [])
        },
        Case("the sizes of single writes do not change the object") { subject in
            let bytes = Self.bytes(3 * subject.partBytes + 7, seed: 3)
            let upload = try await subject.store.upload("one", ObjectAttributes())
            try await upload.write([])
            try await upload.write(bytes)
            try await upload.write([])
            #expect(try await upload.finish().size == bytes.count)
            #expect(Self.areSame(try await Self.get(subject, "one"), bytes))
            let small = try await subject.store.upload("many", ObjectAttributes())
            for byte in bytes[..<1_000] { try await small.write([byte]) }
            #expect(try await small.finish().size == 1_000)
            #expect(Self.areSame(try await Self.get(subject, "many"), bytes[..<1_000]))
        },
        Case("an empty object can be stored") { subject in
            let written = try await Self.put(subject, "empty", [])
            #expect(written.size == 0)
            #expect(try await subject.store.head("empty")?.size == 0)
            #expect(try await Self.get(subject, "empty").isEmpty)
            let error = await #expect(throws: ObjectError.self) { try await subject.store.download("empty", range: 0..<1) }
            #expect(error.map(Self.isInvalid) == true)
            try await Self.expectOnly(["empty"], subject)
        },
        Case("any range within an object can be read, and none after its end") { subject in
            let part = subject.partBytes
            let bytes = Self.bytes(2 * part + 1_000, seed: 4)
            try await Self.put(subject, "a", bytes)
            for range in [
                0..<1, 0..<100, 10..<11, part - 1..<part + 1, part..<2 * part, 5..<bytes.count, bytes.count - 1..<bytes.count,
                0..<bytes.count, bytes.count - 10..<bytes.count + 10, 100..<Int.max,
            ] {
                let read = try await Self.get(subject, "a", range: range)
                #expect(Self.areSame(read, bytes[range.clamped(to: bytes.indices)]), "\(range)")
            }
            let download = try await subject.store.download("a", range: 10..<20)
            #expect(download.info.size == bytes.count)
            for range in [0..<0, 5..<5, bytes.count..<bytes.count + 1, bytes.count + 5..<bytes.count + 10, -1..<5] {
                let error = await #expect(throws: ObjectError.self, "\(range)") {
                    try await subject.store.download("a", range: range)
                }
                #expect(error.map(Self.isInvalid) == true, "\(range)")
            }
        },
        Case("a missing object is not found, and its delete succeeds") { subject in
            #expect(try await subject.store.head("a/b") == nil)
            for range in [nil, 0..<1] {
                await #expect(throws: ObjectError.notFound) { try await subject.store.download("a/b", range: range) }
            }
            try await subject.store.delete("a/b")
            try await Self.put(subject, "a/b/c", [1])
            #expect(try await subject.store.head("a") == nil)
            #expect(try await subject.store.head("a/b") == nil)
            #expect(try await subject.store.head("a/b/c/d") == nil)
            await #expect(throws: ObjectError.notFound) { try await subject.store.download("a/b", range: nil) }
            try await subject.store.delete("a/b")
            try await subject.store.delete("a/b/c/d")
            #expect(try await Self.get(subject, "a/b/c") == [1])
        },
        Case("a deleted object is gone, and its key can be used again") { subject in
            let first = try await Self.put(subject, "a/b", Self.bytes(1_000, seed: 5))
            try await Self.put(subject, "a/c", [1])
            try await subject.store.delete("a/b")
            #expect(try await subject.store.head("a/b") == nil)
            await #expect(throws: ObjectError.notFound) { try await subject.store.download("a/b", range: nil) }
            try await Self.expectOnly(["a/c"], subject)
            try await subject.store.delete("a/b")
            let second = try await Self.put(subject, "a/b", Self.bytes(1_000, seed: 6))
            #expect(second.etag != first.etag)
            #expect(Self.areSame(try await Self.get(subject, "a/b"), Self.bytes(1_000, seed: 6)))
            for key in ["a/b", "a/c"] { try await subject.store.delete(key) }
            try await Self.expectOnly([], subject)
        },
        Case("an abandoned download does not affect the store") { subject in
            let bytes = Self.bytes(2 * subject.partBytes + 1, seed: 7)
            try await Self.put(subject, "a", bytes)
            for count in 0..<20 {
                let download = try await subject.store.download("a", range: count % 2 == 0 ? nil : 1..<bytes.count)
                for _ in 0..<count % 3 { #expect(try await download.next()?.isEmpty == false) }
            }
            #expect(Self.areSame(try await Self.get(subject, "a"), bytes))
        },
    ]
}
