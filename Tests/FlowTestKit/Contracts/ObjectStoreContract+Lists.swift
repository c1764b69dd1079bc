import FlowCore
import Testing

extension ObjectStoreContract {
    static let lists: [Case] = [
        Case("lists objects in byte order of their keys, page by page") { subject in
            // In byte order: a slash sorts between `.` and `0`.
            let keys = [
                "l/A", "l/a-b", "l/a-b.c", "l/a.b", "l/a/-", "l/a/b/c", "l/a/b0", "l/a/b:c", "l/a0", "l/a00", "l/a:b", "l/aB",
                "l/a_b", "l/aa/x", "l/b/c/d", "m",
            ]
            #expect(
                keys.map { Array($0.utf8) }.elementsEqual(keys.map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) })
            )
            for (number, key) in keys.reversed().enumerated() {
                try await Self.put(subject, key, Self.bytes(number, seed: number))
            }
            for limit in [1, 2, 5, keys.count - 1, keys.count, 1_000] {
                var found: [ObjectInfo] = []
                while true {
                    let page = try await subject.store.list(prefix: "", after: found.last?.key, limit: limit)
                    #expect(page.objects.count <= limit)
                    found += page.objects
                    #expect(page.hasMore == (found.count < keys.count))
                    if !page.hasMore || page.objects.isEmpty { break }
                }
                #expect(found.map(\.key) == keys, "pages of \(limit)")
                for info in found {
                    let head = try #require(try await subject.store.head(info.key))
                    #expect(info.size == head.size && info.etag == head.etag && info.storageClass == head.storageClass)
                    #expect(abs(info.lastModified.milliseconds - head.lastModified.milliseconds) <= 1_000)
                }
            }
            func list(_ prefix: String, after: String? = nil) async throws -> [String] {
                try await subject.store.list(prefix: prefix, after: after, limit: 1_000).objects.map(\.key)
            }
            for prefix in [
                "l", "l/", "l/a", "l/a/", "l/a/b", "l/a/b/", "l/a.", "l/aa/x", "l/b/c/d", "m", "n", "l/b/c/d/", "/", ".",
            ] {
                let expected = keys.filter { $0.hasPrefix(prefix) }
                #expect(try await list(prefix) == expected, "\(prefix)")
                // Existing keys, and positions between them.
                for after in keys + ["l/a", "l/a/", "l/a/b", "l/a0/", "k", "l/z", "z"] {
                    #expect(try await list(prefix, after: after) == expected.filter { $0 > after }, "\(prefix) after \(after)")
                }
            }
        },
        Case("lists with an invalid prefix, start key or limit are rejected") { subject in
            for (prefix, after, limit) in [("a b", nil, 1), ("é", nil, 1), ("", "a\r\n", 1), ("", nil, 0), ("", nil, -1)]
                as [(String, String?, Int)]
            {
                let error = await #expect(throws: ObjectError.self) {
                    try await subject.store.list(prefix: prefix, after: after, limit: limit)
                }
                #expect(error.map(Self.isInvalid) == true)
            }
            let page = try await subject.store.list(prefix: "", after: nil, limit: 1)
            #expect(page.objects.isEmpty && !page.hasMore)
        },
    ]
}
