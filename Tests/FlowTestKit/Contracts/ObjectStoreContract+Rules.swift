import FlowCore
import Testing

extension ObjectStoreContract {
    static let rules: [Case] = [
        Case("every operation rejects invalid keys") { subject in
            let invalid = [
                "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "a b", "a\u{0}", "a\r\nb", "a\n", "é",
                "e\u{301}", "🦆", "a\\b", "a%2fb", "~", "a*", "a?b", "a#b", "a&b", "a+b", "a\"", "<a>", "a'", "a,b", "a@b", "a=b",
                String(repeating: "a", count: 1_025), String(repeating: "a/", count: 512) + "a",
            ]
            for key in invalid {
                let calls: [(String, () async throws -> Void)] = [
                    ("upload", { _ = try await subject.store.upload(key, ObjectAttributes()) }),
                    ("download", { _ = try await subject.store.download(key, range: nil) }),
                    ("head", { _ = try await subject.store.head(key) }),
                    ("delete", { try await subject.store.delete(key) }),
                    ("presign", { _ = try subject.store.presign(key, seconds: 60, fileName: "a") }),
                ]
                for (name, call) in calls {
                    let error = await #expect(throws: ObjectError.self, "\(name) \(key.debugDescription)") { try await call() }
                    #expect(error.map(Self.isInvalid) == true, "\(name) \(key.debugDescription)")
                }
            }
            try await Self.expectOnly([], subject)
        },
        Case("keys of up to 1,024 bytes and all allowed characters are accepted") { subject in
            let segment = String(repeating: "k", count: 203)
            let longest = Array(repeating: segment, count: 5).joined(separator: "/") + "/end"
            #expect(longest.utf8.count == 1_023)
            let keys = [longest, longest + "s", "...", "a..b/.c", "_.:-A9", "con", "-", "uploads/a", "stored/a"]
            for (number, key) in keys.enumerated() { try await Self.put(subject, key, [UInt8(number)]) }
            for (number, key) in keys.enumerated() { #expect(try await Self.get(subject, key) == [UInt8(number)], "\(key)") }
            try await Self.expectOnly(keys.sorted(), subject)
        },
        Case("valid attributes are accepted and invalid ones rejected") { subject in
            func put(_ key: String, _ attributes: ObjectAttributes) async throws {
                let upload = try await subject.store.upload(key, attributes)
                try await upload.write([1])
                _ = try await upload.finish()
            }
            try await put("type", ObjectAttributes(contentType: "text/plain; charset=utf-8"))
            try await put("some", ObjectAttributes(metadata: ["content-hash": "0a1b", "n_1": "~ with  spaces \"'<>&%"]))
            // 2,048 bytes in values of 255 bytes, the longest that the test's S3 server accepts.
            let most = "abcdefgh".map { (String($0), String(repeating: "x", count: 255)) }
            try await put("most", ObjectAttributes(metadata: Dictionary(uniqueKeysWithValues: most)))
            for attributes in [
                ObjectAttributes(metadata: ["A": "1"]), ObjectAttributes(metadata: ["": "1"]),
                ObjectAttributes(metadata: ["a:b": "1"]), ObjectAttributes(metadata: ["a": "x\r\nhost: y"]),
                ObjectAttributes(metadata: ["a": "é"]), ObjectAttributes(metadata: ["a": "\u{7f}"]),
                ObjectAttributes(metadata: ["a": String(repeating: "x", count: 2_048)]),
                ObjectAttributes(contentType: "text/plain\r\nx: y"), ObjectAttributes(contentType: ""),
            ] {
                let error = await #expect(throws: ObjectError.self, "\(attributes)") { try await put("refused", attributes) }
                #expect(error.map(Self.isInvalid) == true, "\(attributes)")
            }
            try await Self.expectOnly(["most", "some", "type"], subject)
        },
        Case("a download link is valid for 1 s to 7 days, if links are supported") { subject in
            try await Self.put(subject, "a/b", [1])
            for seconds in [1, 604_800] {
                let link = try subject.store.presign("a/b", seconds: seconds, fileName: "x.json.gz")
                #expect((link != nil) == subject.hasLinks)
                if let link { #expect(link.hasPrefix("http") && link.contains("a/b")) }
            }
            for seconds in [0, -1, 604_801, Int.max] {
                let error = #expect(throws: ObjectError.self) {
                    try subject.store.presign("a/b", seconds: seconds, fileName: "x.json.gz")
                }
                #expect(error.map(Self.isInvalid) == true)
            }
        },
    ]
}
