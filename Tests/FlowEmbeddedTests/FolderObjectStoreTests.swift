import FlowCore
import FlowTestKit
import Foundation
import Testing

@testable import FlowEmbedded

@Suite struct FolderObjectStoreTests {
    private static func withStore(_ body: (FolderObjectStore, _ folder: String) async throws -> Void) async throws {
        try await withTemporaryFolder { folder in
            try await body(try FolderObjectStore(folder: folder) { start }, folder)
        }
    }

    private static func put(_ store: FolderObjectStore, _ key: String, _ text: String) async throws {
        let upload = try await store.upload(key, ObjectAttributes())
        do {
            try await upload.write(Array(text.utf8))
            _ = try await upload.finish()
        } catch {
            await upload.abort()
            throw error
        }
    }

    private static func link(_ path: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
    }

    @Test(arguments: ObjectStoreContract.cases)
    func storeMeetsContract(_ promise: ObjectStoreContract.Case) async throws {
        try await Self.withStore { store, _ in
            try await promise.run(
                ObjectStoreContract.Subject(
                    store: store, maintenance: store, partBytes: 262_144, hasLinks: false, hasLifecycle: false))
        }
    }

    @Test func doesNotFollowSymbolicLinks() async throws {
        try await Self.withStore { store, folder in
            let outside = folder + "/outside"
            try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: true)
            try "secret".write(toFile: outside + "/file", atomically: false, encoding: .utf8)
            try await Self.put(store, "in/a", "1")
            try Self.link(folder + "/stored/in/dir", to: outside)
            try Self.link(folder + "/stored/in/link", to: outside + "/file")
            try Self.link(folder + "/stored/in/dangling", to: outside + "/new")
            for key in ["in/dir/file", "in/link", "in/dangling"] {
                #expect(try await store.head(key) == nil)
                await #expect(throws: ObjectError.notFound) { try await store.download(key, range: nil) }
            }
            try await store.delete("in/dir/file")
            await #expect(throws: FolderFailure.isBlocked) { try await Self.put(store, "in/dir/new", "2") }
            await #expect(throws: ObjectError.exists) { try await Self.put(store, "in/dangling", "3") }
            #expect(try await store.list(prefix: "", after: nil, limit: 10).objects.map(\.key) == ["in/a"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: outside) == ["file"])

            // The store also does not follow links in the directory of uploads.
            try FileManager.default.removeItem(atPath: folder + "/uploads")
            try FileManager.default.createDirectory(atPath: folder + "/uploads", withIntermediateDirectories: false)
            try Self.link(folder + "/uploads/up", to: outside)
            await #expect(throws: FolderFailure.isBlocked) { try await Self.put(store, "up", "4") }
            #expect(try await store.unfinishedUploads(prefix: "") == [])
            #expect(try FileManager.default.contentsOfDirectory(atPath: outside) == ["file"])
        }
    }

    @Test func findsAndAbortsUploadsOfDeadProcess() async throws {
        try await Self.withStore { store, folder in
            let upload = try await store.upload("imports/1/a", ObjectAttributes())
            try await upload.write([1, 2, 3])
            // The state after a process died between linking a completed object and deleting its upload.
            try await Self.put(store, "imports/1/b", "done")
            let left = "\(start.milliseconds)-" + String(repeating: "0", count: 32)
            try FileManager.default.createDirectory(atPath: folder + "/uploads/imports/1/b", withIntermediateDirectories: true)
            try FileManager.default.linkItem(
                atPath: folder + "/stored/imports/1/b", toPath: folder + "/uploads/imports/1/b/" + left)

            let next = try FolderObjectStore(folder: folder) { start.advanced(bySeconds: 60) }
            let found = try await next.unfinishedUploads(prefix: "imports/")
            #expect(found.map(\.key) == ["imports/1/a", "imports/1/b"])
            #expect(found.map(\.initiatedAt) == [start, start])
            for each in found { try await next.abort(each) }
            #expect(try await next.unfinishedUploads(prefix: "") == [])
            #expect(try await next.head("imports/1/b")?.size == 4)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/uploads").isEmpty)
            await #expect(throws: FolderFailure.aborted) { try await upload.finish() }
            let strange = UnfinishedUpload(key: "imports/1/b", uploadID: "../../../stored/imports/1/b", initiatedAt: start)
            await #expect(throws: ObjectError.self) { try await next.abort(strange) }
            #expect(try await next.head("imports/1/b")?.size == 4)
        }
    }

    @Test func rejectsKeysConflictingWithFilesAndFolders() async throws {
        try await Self.withStore { store, _ in
            try await Self.put(store, "a", "1")
            try await Self.put(store, "b/c", "2")
            await #expect(throws: FolderFailure.isBlocked) { try await Self.put(store, "a/d", "3") }
            await #expect(throws: FolderFailure.isFolder) { try await Self.put(store, "b", "4") }
            let long = String(repeating: "k", count: 256)
            await #expect(throws: ObjectError.self) { try await Self.put(store, "b/\(long)", "5") }
            #expect(try await store.list(prefix: "", after: nil, limit: 10).objects.map(\.key) == ["a", "b/c"])
            #expect(try await store.unfinishedUploads(prefix: "") == [])
        }
    }

    @Test func truncatedFileFailsDownloadAsCorrupted() async throws {
        try await Self.withStore { store, folder in
            try await Self.put(store, "a", String(repeating: "x", count: 1_000_000))
            let download = try await store.download("a", range: nil)
            #expect(try await download.next()?.count == 262_144)
            let file = try #require(FileHandle(forUpdatingAtPath: folder + "/stored/a"))
            try file.truncate(atOffset: 500_000)
            try file.close()
            let error = await #expect(throws: ObjectError.self) { while try await download.next() != nil {} }
            guard case .corrupted? = error else { throw ObjectError.invalid("it is not corrupted") }
        }
    }

    @Test func removesEmptyFoldersDuringConcurrentWrites() async throws {
        try await Self.withStore { store, folder in
            let rounds = TestScale.pick(60, full: 3_000)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<4 {
                    group.addTask {
                        for round in 0..<rounds {
                            let key = "deep/er/still/\(round % 3)/\(writer)"
                            try await Self.put(store, key, "\(round)")
                            #expect(try await store.head(key)?.size == "\(round)".utf8.count)
                            try await store.delete(key)
                        }
                    }
                }
                group.addTask {
                    for _ in 0..<rounds { _ = try await store.list(prefix: "deep/", after: nil, limit: 10) }
                }
                try await group.waitForAll()
            }
            for name in ["stored", "uploads"] {
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/" + name).isEmpty)
            }
        }
    }

    @Test func ignoresForeignFiles() async throws {
        try await Self.withStore { store, folder in
            try await Self.put(store, "a/b", "1")
            for name in ["stored/.keep me~", "stored/a/ü", "uploads/README.txt"] {
                try "x".write(toFile: folder + "/" + name, atomically: false, encoding: .utf8)
            }
            #expect(mkfifo(folder + "/stored/pipe", 0o600) == 0)
            #expect(try await store.head("pipe") == nil)
            await #expect(throws: ObjectError.notFound) { try await store.download("pipe", range: nil) }
            #expect(try await store.list(prefix: "", after: nil, limit: 10).objects.map(\.key) == ["a/b"])
            #expect(try await store.unfinishedUploads(prefix: "") == [])
            try await store.delete("a/b")
            #expect(FileManager.default.fileExists(atPath: folder + "/stored/a/ü"))
        }
    }

    @Test func reportsMissingFolder() async throws {
        try await Self.withStore { store, folder in
            try FileManager.default.removeItem(atPath: folder)
            let error = await #expect(throws: ObjectError.self) { try await store.head("a") }
            guard case .unavailable(let text)? = error else { throw ObjectError.invalid("it is not unavailable") }
            #expect(text.contains(folder))
        }
        #expect(throws: EmbeddedStoreError.self) { _ = try FolderObjectStore(folder: "/proc/none") { start } }
    }

    @Test func closesFilesOfAbandonedTransfers() async throws {
        try await Self.withStore { store, folder in
            try await Self.put(store, "a/b", String(repeating: "x", count: 600_000))
            for _ in 0..<50 {
                let download = try await store.download("a/b", range: nil)
                _ = try await download.next()
                let upload = try await store.upload("a/c", ObjectAttributes())
                try await upload.write([1])
                await upload.abort()
                _ = try await store.upload("a/d", ObjectAttributes())
            }
            _ = try await store.list(prefix: "", after: nil, limit: 10)
            // The dispatch queue may release a closure after its caller has continued.
            try await eventually("all files of the folder to be closed") {
                let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
                    .compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)") }
                return !open.contains { $0.hasPrefix(folder) }
            }
        }
    }
}
