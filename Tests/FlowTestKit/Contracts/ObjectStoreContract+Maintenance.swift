import FlowCore
import Testing

extension ObjectStoreContract {
    static let maintenance: [Case] = [
        Case("unfinished uploads are listed by prefix and aborted") { subject in
            let bytes = Self.bytes(2 * subject.partBytes + 1, seed: 1)
            var uploads: [any ObjectUpload] = []
            for key in ["a/b", "a/b", "a/bc", "c"] {
                let upload = try await subject.store.upload(key, ObjectAttributes())
                try await Self.write(bytes, to: upload)
                uploads.append(upload)
            }
            func unfinished(_ prefix: String) async throws -> [String] {
                try await subject.maintenance.unfinishedUploads(prefix: prefix).map(\.key).sorted()
            }
            #expect(try await unfinished("") == ["a/b", "a/b", "a/bc", "c"])
            #expect(try await unfinished("a/b") == ["a/b", "a/b", "a/bc"])
            #expect(try await unfinished("a/bc") == ["a/bc"])
            #expect(try await unfinished("b") == [])
            let found = try await subject.maintenance.unfinishedUploads(prefix: "a/b")
            #expect(Set(found.map(\.uploadID)).count == 3)
            #expect(found.allSatisfy { $0.initiatedAt > Timestamp(milliseconds: 1_600_000_000_000) })
            for upload in found {
                try await subject.maintenance.abort(upload)
                try await subject.maintenance.abort(upload)
            }
            #expect(try await unfinished("") == ["c"])
            for upload in uploads[..<3] {
                await #expect(throws: ObjectError.self) { try await upload.finish() }
                await upload.abort()
            }
            _ = try await uploads[3].finish()
            try await Self.expectOnly(["c"], subject)
        },
        Case("lifecycle rules are stored, or rejected if unsupported") { subject in
            #expect(try await subject.maintenance.lifecycleRules() == [])
            let rules = [
                LifecycleRule(id: "rare", prefix: "imports/", infrequentAccessDays: 30),
                LifecycleRule(id: "all & <more>", prefix: "", isEnabled: false, expirationDays: 365, abortUploadDays: 7),
            ]
            if subject.hasLifecycle {
                try await subject.maintenance.setLifecycleRules(rules)
                #expect(
                    try await subject.maintenance.lifecycleRules().sorted { $0.id < $1.id } == rules.sorted { $0.id < $1.id })
                try await subject.maintenance.setLifecycleRules([rules[0]])
                #expect(try await subject.maintenance.lifecycleRules() == [rules[0]])
            } else {
                let error = await #expect(throws: ObjectError.self) { try await subject.maintenance.setLifecycleRules(rules) }
                guard case .rejected(let text)? = error else { throw ObjectError.invalid("lifecycle rules were not rejected") }
                #expect(!text.isEmpty)
            }
            try await subject.maintenance.setLifecycleRules([])
            #expect(try await subject.maintenance.lifecycleRules() == [])
        },
    ]
}
